//! The calls to shards: which operations travel together, and where the answers belong.

use futures_util::future::join_all;
use smallvec::SmallVec;

use super::Shards;
use super::heard::Heard;
use crate::limiter::{Batch, Count, NewOperation, Operation};
use crate::store::StoreError;

/// The answers to the operations of a batch, as far as there are any.
pub(super) type Answers = SmallVec<[Option<Result<Count, StoreError>>; 4]>;

/// An operation of the whole batch by its place, and what is asked of its counter.
pub(super) type Asked = (usize, NewOperation);

/// One call for each shard that is needed.
pub(super) struct Calls<'b, T> {
    whole: &'b Batch,
    calls: SmallVec<[Call<T>; 4]>,
}

struct Call<T> {
    shard: T,
    batch: Batch,
    sets: u16,
    places: SmallVec<[usize; 8]>,
}

impl<'b, T: Copy + PartialEq> Calls<'b, T> {
    /// None yet, for operations of `whole`.
    pub(super) fn new(whole: &'b Batch) -> Self {
        Self { whole, calls: SmallVec::new() }
    }

    /// Adds a set as it is; its operations stand one after the other from that place on.
    pub(super) fn add_whole(&mut self, shard: T, (first, operations): (usize, &[Operation])) {
        self.add(shard, (first..).zip(operations.iter().map(Operation::again)));
    }

    /// Adds operations as one set.
    pub(super) fn add(&mut self, shard: T, set: impl Iterator<Item = Asked>) {
        let mut set = set.peekable();
        if set.peek().is_none() {
            return;
        }
        let call = self.call(shard);
        let number = call.sets;
        call.sets += 1;
        let (whole, call) = (self.whole, self.call(shard));
        for (place, new) in set {
            let key = whole.key(&whole.operations()[place]);
            call.batch.push(NewOperation { set: number, ..new }, |out| out.extend_from_slice(key));
            call.places.push(place);
        }
    }

    fn call(&mut self, shard: T) -> &mut Call<T> {
        let at = self.calls.iter().position(|call| call.shard == shard).unwrap_or_else(|| {
            let batch = Batch::part_of(self.whole);
            self.calls.push(Call { shard, batch, sets: 0, places: SmallVec::new() });
            self.calls.len() - 1
        });
        &mut self.calls[at]
    }

    /// Asks all shards at once and writes the answers down; what each says is `heard` at once.
    pub(super) async fn ask<S: Shards<Shard = T>>(
        self,
        shards: &S,
        answers: &mut Answers,
        heard: Option<&Heard>,
    ) {
        let replies = self.calls.iter().map(|call| async move {
            let counts = shards.call(call.shard, &call.batch).await;
            if let Some(heard) = heard {
                heard.tell(&call.places, &counts);
            }
            counts
        });
        let replies = join_all(replies).await;
        for (call, counts) in self.calls.iter().zip(replies) {
            for (place, count) in call.places.iter().zip(counts) {
                answers[*place] = Some(count);
            }
        }
    }
}
