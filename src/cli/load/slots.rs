//! Handing planned calls to the tasks that make them.
//!
//! There are as many tasks as calls may be in flight, all on one thread and all spawned
//! before the first call: a call allocates nothing here. The task that has been idle
//! longest is the next, so that connections take turns.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The tasks of a thread.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    idle: RefCell<VecDeque<usize>>,
    closed: Cell<bool>,
}

#[derive(Debug, Default)]
struct Slot {
    planned: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

impl Slots {
    /// For `count` tasks.
    pub(super) fn new(count: usize) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(count).collect();
        Self { slots, idle: VecDeque::with_capacity(count).into(), closed: Cell::new(false) }
    }

    /// Task `index` is idle and waits for the time its next call is planned for; none when
    /// there will be no more.
    pub(super) async fn next(&self, index: usize) -> Option<Instant> {
        self.idle.borrow_mut().push_back(index);
        poll_fn(|context| self.poll(index, context)).await
    }

    fn poll(&self, index: usize, context: &mut Context<'_>) -> Poll<Option<Instant>> {
        let slot = &self.slots[index];
        if let Some(planned) = slot.planned.take() {
            return Poll::Ready(Some(planned));
        }
        if self.closed.get() {
            return Poll::Ready(None);
        }
        let mut waker = slot.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Hands a call to an idle task; says whether there was one.
    pub(super) fn hand(&self, planned: Instant) -> bool {
        let Some(index) = self.idle.borrow_mut().pop_front() else { return false };
        let slot = &self.slots[index];
        slot.planned.set(Some(planned));
        if let Some(waker) = &*slot.waker.borrow() {
            waker.wake_by_ref();
        }
        true
    }

    /// There will be no more calls.
    pub(super) fn close(&self) {
        self.closed.set(true);
        for slot in &self.slots {
            if let Some(waker) = &*slot.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn a_call_goes_to_the_task_that_was_idle_longest() {
        let local = tokio::task::LocalSet::new();
        let slots = Rc::new(Slots::new(2));
        let made = Rc::new(RefCell::new(Vec::new()));
        for index in 0..2 {
            let (slots, made) = (Rc::clone(&slots), Rc::clone(&made));
            local.spawn_local(async move {
                while slots.next(index).await.is_some() {
                    made.borrow_mut().push(index);
                }
            });
        }
        let now = Instant::now();
        let handing = async {
            assert!(!slots.hand(now), "no task has begun");
            tokio::task::yield_now().await;
            let handed = [slots.hand(now), slots.hand(now), slots.hand(now)];
            assert_eq!(handed, [true, true, false]);
            tokio::task::yield_now().await;
            assert!(slots.hand(now));
            slots.close();
        };
        local.run_until(handing).await;
        local.await;
        assert_eq!(*made.borrow(), [0, 1, 0]);
    }
}
