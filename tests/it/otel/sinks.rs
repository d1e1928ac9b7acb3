//! Who wants traces gets those that it wants, whatever becomes of the call.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue};
use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::limiter::{Request, Source, Terms};
use tidegate::rules::{Entry, SourceFile};
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::memory::MemoryStore;
use tidegate::telemetry::{Call, Caller, Format, Formats, Stage, Status, Trace, TraceSink, Tracer};

use super::{RULES, SPAN, TRACE};
use crate::support::stores;

/// Keeps traces that begin with its caller, or that begin here.
#[derive(Debug)]
struct Keeper {
    wants_roots: bool,
    kept: Mutex<Vec<Arc<Trace>>>,
}

impl Keeper {
    fn new(wants_roots: bool) -> Arc<Self> {
        Arc::new(Self { wants_roots, kept: Mutex::default() })
    }

    fn take(&self) -> Vec<Arc<Trace>> {
        std::mem::take(&mut self.kept.lock().unwrap())
    }
}

impl TraceSink for Keeper {
    fn wants(&self, caller: Option<&Caller>, trace: u128) -> bool {
        assert_ne!(trace, 0);
        caller.is_none() == self.wants_roots
    }

    fn ended(&self, trace: &Arc<Trace>) {
        self.kept.lock().unwrap().push(Arc::clone(trace));
    }
}

fn core(tracer: Arc<Tracer>) -> Core<MemoryStore> {
    let settings = Settings::from_lookup(&|_| None, &[]).unwrap();
    let core = Core::traced(&settings, stores::memory(), Clock::System, tracer);
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: RULES.as_bytes().to_vec() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    core
}

#[tokio::test]
async fn each_sink_gets_what_it_wants() {
    let (roots, others) = (Keeper::new(true), Keeper::new(false));
    let tracer = Arc::new(Tracer::default());
    let formats = Formats([Format::W3c].into_iter().collect());
    tracer.start(formats, vec![Arc::clone(&roots) as _, Arc::clone(&others) as _]);
    // Whoever comes later is late.
    tracer.start(Formats::default(), vec![Keeper::new(true)]);
    let core = core(Arc::clone(&tracer));
    let mut request = Request::new("shop", 3);
    request.push([Entry { key: "user", value: "alice" }], Terms::default());
    request.push([Entry { key: "user", value: "bob" }], Terms::default());

    let none = HeaderMap::new();
    let mut call = Call::begin(&none, &tracer);
    core.front.service.check(&request, &mut call).await.unwrap();
    drop(call);
    let [trace] = &roots.take()[..] else { panic!("one trace") };
    assert!(others.take().is_empty());
    let outcome = trace.outcome.get().unwrap();
    assert_eq!((outcome.status, outcome.descriptors), (Status::OverLimit, 2));
    assert_eq!(outcome.rules, [Box::from("shop.user")]);
    assert_eq!(outcome.request_id.len(), 32);
    assert_eq!(trace.sources().collect::<Vec<_>>(), [Source::Store]);
    let stages: Vec<Stage> = trace.stages.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [Stage::Plan, Stage::Store, Stage::Decide]);
    assert!(trace.stages.iter().all(|(_, begin)| *begin <= trace.took));
    assert!(trace.caller.is_none());

    // A call that is broken off has ended as well.
    let mut headers = HeaderMap::new();
    let parent = format!("00-{TRACE}-{SPAN}-00");
    headers.insert("traceparent", HeaderValue::try_from(parent).unwrap());
    headers.insert("tracestate", HeaderValue::from_static("a=b"));
    drop(Call::begin(&headers, &tracer));
    let [trace] = &others.take()[..] else { panic!("one trace") };
    assert!(roots.take().is_empty() && trace.outcome.get().is_none());
    assert_eq!(format!("{:032x}", trace.id), TRACE);
    let caller = trace.caller.as_ref().unwrap();
    assert_eq!((format!("{:016x}", caller.span).as_str(), caller.sampled), (SPAN, Some(false)));
    assert_eq!(caller.state.as_ref().unwrap(), "a=b");
}
