//! What is answered when the store cannot say, and when.

use std::time::Duration;

use tidegate::rules::OnStoreError;
use tidegate::settings::Sharers;

use super::{errors, read};

#[test]
fn who_has_set_the_time_out_of_the_store_alone_is_taken_at_the_word() {
    let check = |environment: &[&str], millis| {
        let faults = read(environment).unwrap().faults;
        assert_eq!(faults.decision_timeout, Duration::from_millis(millis), "{environment:?}");
    };
    check(&[], 10);
    check(&["TIDEGATE_STORE_TIMEOUT=50ms"], 50);
    check(&["TIDEGATE_STORE_TIMEOUT="], 10);
    check(&["TIDEGATE_DECISION_TIMEOUT=5ms"], 5);
    check(&["TIDEGATE_DECISION_TIMEOUT=5ms", "TIDEGATE_STORE_TIMEOUT=50ms"], 5);
    check(&["TIDEGATE_DECISION_TIMEOUT=1m"], 60_000);
}

#[test]
fn what_cannot_be_is_refused() {
    let check = |environment: &str, expected: &str| {
        assert_eq!(errors(&[environment]), [format!("TIDEGATE_{expected}")]);
    };
    let allowed = "allowed: a duration, 2ms to 1m";
    check("TIDEGATE_DECISION_TIMEOUT=1ms", &format!("DECISION_TIMEOUT: found 1ms; {allowed}"));
    check("TIDEGATE_DECISION_TIMEOUT=2m", &format!("DECISION_TIMEOUT: found 2m; {allowed}"));
    let allowed = "allowed: error, allow, deny or local";
    check("TIDEGATE_ON_STORE_ERROR=fail", &format!("ON_STORE_ERROR: found \"fail\"; {allowed}"));
}

#[test]
fn limits_of_rules_and_of_requests_go_by_it() {
    let check = |environment: &[&str], expected: OnStoreError| {
        let settings = read(environment).unwrap();
        assert_eq!(settings.faults.on_store_error, expected);
        assert_eq!(settings.limiter.on_store_error, expected);
    };
    check(&[], OnStoreError::Error);
    for policy in OnStoreError::ALL {
        check(&[&format!("TIDEGATE_ON_STORE_ERROR={}", policy.name())], policy);
    }
}

#[test]
fn replicas_are_counted_unless_it_is_said_how_many_there_are() {
    let check = |environment: &[&str], sharers, heartbeat| {
        let replicas = read(environment).unwrap().replicas;
        let heartbeat = Duration::from_millis(heartbeat);
        assert_eq!((replicas.sharers, replicas.heartbeat), (sharers, heartbeat));
    };
    check(&[], Sharers::Counted, 2000);
    check(&["TIDEGATE_REPLICAS="], Sharers::Counted, 2000);
    check(&["TIDEGATE_REPLICAS=auto"], Sharers::Counted, 2000);
    check(&["TIDEGATE_REPLICAS=3", "TIDEGATE_REPLICAS_HEARTBEAT=5s"], Sharers::Given(3), 5000);
    for wrong in ["0", "10001", "many", "-1"] {
        let allowed = "allowed: auto or a whole number, 1 to 10000";
        let errors = errors(&[&format!("TIDEGATE_REPLICAS={wrong}")]);
        assert!(errors.len() == 1 && errors[0].ends_with(allowed), "{errors:?}");
    }
}
