//! The scripts of a Redis, run by the Lua that Redis has: one interpreter for each thread.

use std::cell::RefCell;
use std::collections::HashMap;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use mlua::{Function, Lua, Table, Value, Variadic};
use tidegate::clock::Timestamp;

use super::keyspace::{Answer, Keyspace};
use super::resp;

thread_local! {
    static INTERPRETER: Interpreter = Interpreter::new().expect("an interpreter");
}

struct Interpreter {
    lua: Lua,
    /// By their names.
    scripts: RefCell<HashMap<Vec<u8>, Function>>,
}

/// What a script works on, while it runs.
#[derive(Default)]
pub(super) struct Context {
    pub(super) keys: Keyspace,
    pub(super) now: Timestamp,
    /// What it has published.
    pub(super) published: Vec<Vec<u8>>,
}

/// Makes a script known; tells its name, or what is wrong with it.
pub(super) fn load(script: &[u8]) -> Result<Vec<u8>, String> {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, script);
    let name: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = name.into_bytes();
    INTERPRETER.with(|Interpreter { lua, scripts }| {
        if !scripts.borrow().contains_key(&name) {
            let function = lua.load(script).into_function().map_err(|error| error.to_string())?;
            scripts.borrow_mut().insert(name.clone(), function);
        }
        Ok(name)
    })
}

/// Runs a script that is known, and writes what it returns, or its error.
pub(super) fn run(
    name: &[u8],
    (keys, arguments): (&[&[u8]], &[&[u8]]),
    context: &mut Context,
    out: &mut Vec<u8>,
) {
    INTERPRETER.with(|Interpreter { lua, scripts }| {
        let returned = (|| {
            lua.globals().set("KEYS", list(lua, keys)?)?;
            lua.globals().set("ARGV", list(lua, arguments)?)?;
            lua.set_app_data(std::mem::take(context));
            scripts.borrow()[name].call(())
        })();
        *context = lua.remove_app_data().expect("the context of the call");
        match returned {
            Ok(value) => write(&value, out),
            Err(error) => resp::error(&format!("ERR {error}").replace(['\r', '\n'], " "), out),
        }
    });
}

impl Interpreter {
    fn new() -> mlua::Result<Self> {
        let lua = Lua::new();
        let redis = lua.create_table()?;
        redis.set("call", lua.create_function(|lua, words| call(lua, words, Failing::Raises))?)?;
        redis.set("pcall", lua.create_function(|lua, words| call(lua, words, Failing::Tells))?)?;
        lua.globals().set("redis", redis)?;
        Ok(Self { lua, scripts: RefCell::default() })
    }
}

/// What an error of a command does to the script.
#[derive(PartialEq, Eq)]
enum Failing {
    Raises,
    Tells,
}

fn call(lua: &Lua, words: Variadic<Value>, failing: Failing) -> mlua::Result<Value> {
    let words: Vec<Vec<u8>> = words.iter().map(word).collect::<mlua::Result<_>>()?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let answer = {
        let mut context = lua.app_data_mut::<Context>().expect("the context of the call");
        match words[..] {
            [b"PUBLISH", b"tidegate:given-back", message] => {
                context.published.push(message.to_vec());
                Answer::Number(0)
            }
            _ => {
                let now = context.now;
                context.keys.call(&words, now)
            }
        }
    };
    let table = |name: &str, text: &str| {
        let table = lua.create_table()?;
        table.set(name, text)?;
        Ok(Value::Table(table))
    };
    match answer {
        Answer::Nothing => Ok(Value::Boolean(false)),
        Answer::Done => table("ok", "OK"),
        Answer::Number(number) => Ok(Value::Number(number as f64)),
        Answer::Text(text) => Ok(Value::String(lua.create_string(text)?)),
        Answer::Texts(texts) => {
            let texts: Vec<_> = texts.iter().map(Vec::as_slice).collect();
            Ok(Value::Table(list(lua, &texts)?))
        }
        Answer::Error(text) if failing == Failing::Tells => table("err", &text),
        Answer::Error(text) => Err(mlua::Error::RuntimeError(text)),
    }
}

/// A word of a command: a text, or a number as Redis writes it.
fn word(value: &Value) -> mlua::Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(format!("{number}").into_bytes()),
        other => Err(mlua::Error::RuntimeError(format!("not a word of a command: {other:?}"))),
    }
}

fn list(lua: &Lua, texts: &[&[u8]]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for text in texts {
        table.push(lua.create_string(text)?)?;
    }
    Ok(table)
}

/// Writes a value as Redis does: numbers lose their fraction, lists end at the first nothing.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(number) => resp::number(*number, out),
        Value::Number(number) => resp::number(*number as i64, out),
        Value::String(text) => resp::text(&text.as_bytes(), out),
        Value::Boolean(true) => resp::number(1, out),
        Value::Table(table) => {
            if let Ok(error) = table.raw_get::<mlua::LuaString>("err") {
                return resp::error(&error.to_string_lossy(), out);
            }
            let elements: Vec<Value> = table.sequence_values().map_while(Result::ok).collect();
            resp::list(elements.len(), out);
            elements.iter().for_each(|element| write(element, out));
        }
        _ => resp::nothing(out),
    }
}
