//! The targets of `tests/it/fuzz/targets`, one function each.

#[path = "../../tests/it/fuzz/targets/mod.rs"]
mod targets;

macro_rules! targets {
    ($($name:ident)*) => {$(
        /// Takes any bytes; panics if something is wrong.
        pub fn $name(bytes: &[u8]) {
            targets::$name::run(bytes);
        }
    )*};
}

targets!(address discovery environment json mapping memcached message redis_reply rules);
