//! Who frees rules that were replaced: never a request.

use std::sync::{Arc, Weak};

use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::limiter::{Request, Terms};
use tidegate::rules::{Entry, SourceFile};
use tidegate::service::{Answer, Snapshot};
use tidegate::settings::Settings;
use tidegate::sources::Outcome;
use tidegate::sources::files::FileSet;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::telemetry::Call;

fn core() -> Core<MemoryStore> {
    let settings = Settings::from_lookup(&|_| None, &[]).unwrap();
    Core::new(&settings, MemoryStore::new(MemoryConfig::default()), Clock::System)
}

/// Puts other rules into force.
fn reload(core: &Core<MemoryStore>) {
    let text = "{domain: shop, descriptors: [{key: user, rate_limit: {unit: day}}]}";
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: text.into() };
    let set = FileSet { files: vec![file], warnings: Vec::new() };
    assert_eq!(core.reloader.apply(Ok(set)), Outcome::InForce);
}

/// An answer, which holds the rules that it was made with.
async fn ask(core: &Core<MemoryStore>) -> (Answer, Weak<Snapshot>) {
    let mut request = Request::new("shop", 1);
    request.push([Entry { key: "user", value: "alice" }], Terms::default());
    let answer = core.front.service.check(&request, &mut Call::unheard()).await.unwrap();
    let rules = Arc::downgrade(&answer.snapshot);
    (answer, rules)
}

#[tokio::test]
async fn a_request_that_ends_after_a_reload_does_not_free_the_rules() {
    let core = core();
    reload(&core);
    let (answer, rules) = ask(&core).await;
    reload(&core);
    assert_eq!(core.reloader.replaced.free(), 1, "a request has them");
    drop(answer);
    assert_eq!(rules.strong_count(), 1, "they are held for others to free");
    assert_eq!(core.reloader.replaced.free(), 0);
    assert_eq!(rules.strong_count(), 0);
}

#[tokio::test]
async fn a_guard_that_ends_after_a_reload_does_not_free_the_rules() {
    let core = core();
    reload(&core);
    let guard = core.reloader.rules.load();
    let rules = Arc::downgrade(guard.as_ref().unwrap());
    reload(&core);
    assert_eq!(core.reloader.replaced.free(), 1);
    drop(guard);
    assert_eq!(rules.strong_count(), 1);
}

#[tokio::test]
async fn reloads_do_not_pile_up_rules_that_nobody_needs() {
    let core = core();
    reload(&core);
    let (answer, first) = ask(&core).await;
    drop(answer);
    for _ in 0..3 {
        reload(&core);
    }
    assert_eq!(first.strong_count(), 0);
    assert_eq!(core.reloader.replaced.free(), 0);
}

#[tokio::test(start_paused = true)]
async fn rules_are_freed_soon_after_the_last_request_has_ended() {
    let core = core();
    reload(&core);
    let (answer, rules) = ask(&core).await;
    reload(&core);
    let freed = tokio::spawn(core.reloader.replaced.clone().freed());
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(rules.strong_count(), 2, "a request has them");
    }
    drop(answer);
    freed.await.unwrap();
    assert_eq!(rules.strong_count(), 0);
}
