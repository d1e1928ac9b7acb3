//! Panics: each is told once, with where it came from and, if a call was under way, which.
//!
//! A panic is told by a hook, which runs where it happened but knows nothing of calls. So
//! while a call is polled on a thread the hook leaves word with that thread, and whoever
//! catches the panic adds what it knows.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::Pin;
use std::task::Poll;

use sentry::Hub;
use sentry::protocol::{Event, Exception, Level, Mechanism};

thread_local! {
    /// Whether a call is being polled here.
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    /// The panic of the call that was polled here last.
    static CAUGHT: RefCell<Option<Box<Event<'static>>>> = const { RefCell::new(None) };
}

/// A call ended in a panic, which is yet to be told.
#[derive(Debug)]
pub struct Panicked(Option<Box<Event<'static>>>);

/// Tells the log and Sentry of every panic from now on. A panic ends the task it happens in,
/// not the process.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let panic = info.payload_as_str().unwrap_or("no message");
        tracing::error!(place, panic, "a task panicked");
        let event = event(info, &place);
        match IS_WATCHED.get() {
            true => CAUGHT.set(Some(Box::new(event))),
            false => drop(Hub::current().capture_event(event)),
        }
    }));
}

/// Polls `call` to its end, a panic included. (Taken by reference: it is large, and a copy of it
/// would cost as much as a good part of a decision.)
///
/// # Errors
///
/// It panicked.
pub async fn watched<F: Future>(mut call: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(|context| {
        let before = IS_WATCHED.replace(true);
        let polled = panic::catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        IS_WATCHED.set(before);
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked(CAUGHT.take()))),
        }
    })
    .await
}

impl Panicked {
    /// Tells whose call it was, by its id and its domain.
    pub fn tell(self, request_id: &str, domain: &str) {
        tracing::warn!(request_id, domain, "a decision broke off by a panic");
        let Some(mut event) = self.0 else { return };
        event.tags.insert("request_id".to_owned(), request_id.to_owned());
        event.tags.insert("domain".to_owned(), domain.to_owned());
        Hub::current().capture_event(*event);
    }
}

/// The panic with its stack. A text that was made for it may hold anything, and stays here.
fn event(info: &PanicHookInfo<'_>, place: &str) -> Event<'static> {
    let fixed = info.payload().downcast_ref::<&'static str>().copied();
    let exception = Exception {
        ty: "panic".to_owned(),
        value: Some(format!("{} at {place}", fixed.unwrap_or("(text held back)"))),
        stacktrace: sentry::integrations::backtrace::current_stacktrace(),
        mechanism: Some(Mechanism {
            ty: "panic".to_owned(),
            handled: Some(false),
            ..Mechanism::default()
        }),
        ..Exception::default()
    };
    Event { level: Level::Fatal, exception: vec![exception].into(), ..Event::default() }
}
