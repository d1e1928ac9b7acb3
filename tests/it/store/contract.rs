//! What every store promises, run for each of them.

/// Runs promises, which are functions of a store, for each kind of store.
macro_rules! contract {
    ($($promise:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(crate::support::stores::memory())).await;
            })*
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let server = crate::support::redis::RedisServer::start();
                let store = crate::support::stores::redis(&server).await;
                super::$promise(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

/// Runs promises for stores that count fixed windows alone.
macro_rules! contract_of_fixed_windows {
    ($($promise:ident),* $(,)?) => {
        mod memcached {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let server = crate::support::memcached::MemcachedServer::start();
                let store = crate::support::stores::memcached(&server).await;
                super::$promise(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

mod algorithms;
mod concurrency;
mod counting;
mod limits;
mod sets;
