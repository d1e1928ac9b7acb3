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

        mod falling_back {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(crate::support::stores::falling_back())).await;
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

        mod per_second {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                use crate::support::redis::RedisServer;
                let (main, per_second) = (RedisServer::start(), RedisServer::start());
                let store = crate::support::stores::per_second(&main, &per_second).await;
                super::$promise(std::sync::Arc::new(store)).await;
            })*
        }

        /// A cluster takes seconds to start: one for all promises, emptied in between.
        #[tokio::test(flavor = "multi_thread")]
        async fn cluster() {
            let cluster = crate::support::cluster::RedisCluster::start();
            let store = std::sync::Arc::new(crate::support::stores::cluster(&cluster).await);
            $(
                cluster.flush();
                $promise(std::sync::Arc::clone(&store)).await;
            )*
            assert_eq!(cluster.errors("CROSSSLOT"), 0);
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
