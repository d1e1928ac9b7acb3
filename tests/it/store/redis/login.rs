//! Logins: users, passwords, files that follow a rotation, and the least a user needs.

use std::path::Path;

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{Credentials, Login, RedisConfig, RedisStore, SocketType};
use tidegate::store::secret::Secret;
use tidegate::store::{Store, StoreError};

use super::super::{
    LIMIT, RedisServer, apply, batch_of_sets, becomes, config, connect, five_in_ten, values,
};
use super::refusal;

/// What `docs/redis.md` says that a user needs.
pub(super) const NEEDED: [&str; 11] = [
    "+ping",
    "+role",
    "+evalsha",
    "+script|load",
    "+get",
    "+set",
    "+setrange",
    "+incrby",
    "+decrby",
    "+expire",
    "+time",
];

#[tokio::test]
async fn credentials_open_the_door() {
    let server = RedisServer::start_tcp();
    server.command::<()>(&["ACL", "SETUSER", "gate", "on", ">a:b/c", "~*", "+@all"]);
    server.command::<()>(&["ACL", "SETUSER", "default", "resetpass", ">hunter2"]);
    let with = |url: String, auth: Option<&str>| {
        RedisConfig::new(&url, SocketType::Tcp, auth.map(Secret::new).as_ref()).unwrap()
    };
    let address = server.url();
    let good = [
        with(format!("redis://gate:a%3Ab%2Fc@{address}"), None),
        with(address.clone(), Some("gate:a:b/c")),
        with(address.clone(), Some("hunter2")),
        with(address.clone(), Some(":hunter2")),
        with(format!("redis://gate:wrong@{address}"), Some("hunter2")),
        with(format!("redis://:hunter2@{address}/2"), Some("")),
    ];
    for (config, expected) in good.into_iter().zip([1, 2, 3, 4, 5, 1]) {
        let store = connect(config).await;
        assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [expected]);
    }
    for config in [with(address.clone(), None), with(address, Some("gate:wrong"))] {
        let store = RedisStore::connect(config);
        let text = refusal(&store).await;
        assert!(!text.contains("wrong"), "{text}");
    }
}

#[test]
fn a_password_may_hold_colons() {
    let check = |auth: &str, user: Option<&str>, password: Option<&str>| {
        let expected = Login { user: user.map(str::to_owned), password: password.map(Secret::new) };
        assert_eq!(Login::parse(&Secret::new(auth)), expected, "{auth}");
    };
    check("", None, None);
    check("pass", None, Some("pass"));
    check("me:pass", Some("me"), Some("pass"));
    check("me:pa:ss", Some("me"), Some("pa:ss"));
    check(":pa:ss", None, Some("pa:ss"));
    check("me:", Some("me"), Some(""));
}

#[tokio::test]
async fn a_file_is_read_for_each_connection() {
    let server = RedisServer::start();
    let user = |password: &str| {
        let password = format!(">{password}");
        let rule = ["ACL", "SETUSER", "gate", "reset", "on", &password, "~*", "+@all"];
        server.command::<()>(&rule);
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("login");
    let mut config = config(&server);
    config.dialing.login = Credentials::File(file.clone());

    let store = RedisStore::connect(config);
    let text = refusal(&store).await;
    assert!(text.contains(&file.display().to_string()), "{text}");

    user("hunter2");
    std::fs::write(&file, "gate:hunter2\n").unwrap();
    becomes(&store, true).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);

    // The connection that there is stays; the next one says the new password.
    user("hunter3");
    std::fs::write(&file, "gate:hunter3").unwrap();
    let opened = store.stats().opened;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [2]);
    assert_eq!(store.stats().opened, opened);
    server.command::<()>(&["CLIENT", "KILL", "USER", "gate"]);
    becomes(&store, false).await;
    becomes(&store, true).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [3]);
}

#[tokio::test]
async fn a_user_needs_few_commands_and_the_page_names_them() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&NEEDED.join(" ")), "docs/redis.md names {}", NEEDED.join(" "));

    let server = RedisServer::start();
    let rule = |needed: &[&str]| {
        let user = ["ACL", "SETUSER", "gate", "reset", "on", ">hunter2", "~*"];
        server.command::<()>(&[&user[..], needed].concat());
        server.command::<()>(&["FLUSHALL"]);
        let mut config = config(&server);
        config.dialing.login = Credentials::Given(Login::parse(&Secret::new("gate:hunter2")));
        RedisStore::connect(config)
    };
    let store = rule(&NEEDED);
    becomes(&store, true).await;
    assert_eq!(everything(&store).await, Ok(()));
    for missing in 0..NEEDED.len() {
        let mut others = NEEDED.to_vec();
        let name = others.remove(missing);
        if name == "+role" {
            continue; // it helps where it is allowed
        }
        let store = rule(&others);
        // It cannot connect or cannot count.
        let counted = tokio::select! {
            counted = async { becomes(&store, true).await; everything(&store).await } => counted,
            text = refusal(&store), if name == "+script|load" => Err(StoreError::Refused(text)),
        };
        assert!(matches!(counted, Err(StoreError::Refused(_))), "{name}: {counted:?}");
    }
}

/// Every kind of operation on every kind of counter.
async fn everything(store: &RedisStore) -> Result<(), StoreError> {
    use tidegate::limiter::Action::GiveBack;
    store.probe().await?;
    let sums = [("s_", 60, Spend(u64::MAX)), ("s_", 60, Spend(u64::MAX)), ("s_", 60, GiveBack(1))];
    // One by one, or they would be a single sum.
    for sum in sums {
        apply(store, 60, &[sum]).await.remove(0)?;
    }
    for meter in five_in_ten() {
        for action in [Spend(1), GiveBack(1), Spend(0)] {
            let batch = batch_of_sets(60_000_000, &[&[("m_", meter, action, LIMIT)]]);
            for count in store.apply(&batch).await {
                count?;
            }
        }
    }
    Ok(())
}
