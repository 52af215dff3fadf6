//! Functions that take lists which can be as long as a plugin wants.
//!
//! The engine copies an argument as a whole before it calls the host, a hundred thousand texts in one
//! piece: so long others would wait for the thread. Here a list stays in the plugin's memory. Of most
//! only the beginning matters, and no more is read; a long one is read in pieces, each in the
//! plugin's turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Resource, WasmList, WasmStr};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{self, HeaderError};
use wasmtime_wasi_io::bindings::wasi::io::poll;

use super::bindings::zlayer::plugin::common::KeyValue;
use super::bindings::zlayer::plugin::logging::Level;
use super::bindings::zlayer::plugin::{logging, metrics};
use super::listed::text_bytes;
use super::{FIELDS_BYTES, HostState, Interface};
use crate::capability::Capability;
use crate::metrics::MOST_LABELS;
use crate::redact;

/// How many texts are read in one piece, and how many bytes of them.
const PIECE_TEXTS: usize = 1024;
const PIECE_BYTES: usize = 256 << 10;
/// Fields of a record that are read, of which each takes some of the record's bytes.
const RECORD_FIELDS: usize = logging_fields();
/// Header fields of one list: as many as there is room for where all are empty.
const HEADER_FIELDS: usize = FIELDS_BYTES / size_of::<http::HeaderValue>();
/// Things that can be waited for at the same time.
const POLLED: usize = 4096;

const fn logging_fields() -> usize {
    super::logging::RECORD_BYTES / super::logging::FIELD_OVERHEAD
}

/// `key-value`, still in the plugin's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Pair {
    key: WasmStr,
    value: WasmStr,
}

/// A text that is in a list many times and in memory once.
type Text = Arc<str>;

type Store<'a> = StoreContextMut<'a, HostState>;

/// The functions of these interfaces take the place of those that were linked by the same names.
pub(super) const INTERFACES: [Interface; 5] = [
    ("zlayer:plugin/config", config),
    ("zlayer:plugin/logging", logging),
    ("zlayer:plugin/metrics", metrics),
    ("wasi:io/poll", io),
    ("wasi:http/types", http),
];

fn config(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut config = linker.instance("zlayer:plugin/config@0.1.0")?;
    config.func_wrap_async("get-many", |mut store: Store<'_>, (keys,)| {
        Box::new(async move { Ok((get_many(&mut store, &keys).await?,)) })
    })
}

/// What was read of a list since others could run.
#[derive(Default)]
struct Piece {
    texts: usize,
    bytes: usize,
}

impl Piece {
    fn add(&mut self, text: &str) {
        self.texts += 1;
        self.bytes += text.len();
    }

    fn is_full(&self) -> bool {
        self.texts >= PIECE_TEXTS || self.bytes >= PIECE_BYTES
    }
}

/// The pairs of those keys that the configuration has, in the order in which they were asked for.
async fn get_many(
    store: &mut Store<'_>,
    keys: &WasmList<WasmStr>,
) -> wasmtime::Result<Vec<(Text, Text)>> {
    const NAME: &str = "config.get-many";
    if !store.data().may(Capability::Config) {
        return Ok(Vec::new());
    }
    let plugin = Arc::clone(&store.data().plugin);
    let config = &plugin.grants.config;
    let list = keys.len() * size_of::<(Text, Text)>();
    store.data_mut().charge_list(NAME, list)?;
    let mut found = Vec::with_capacity(keys.len());
    // A plugin may name the same key many times.
    let mut known: BTreeMap<&str, (Text, Text)> = BTreeMap::new();
    let mut copies = 0;
    let mut piece = Piece::default();
    for index in 0..keys.len() {
        if piece.is_full() {
            plugin.pause().await;
            piece = Piece::default();
        }
        let Some(key) = keys.get(&mut *store, index) else {
            break;
        };
        let key = key?;
        let key = key.to_str(&*store)?;
        piece.add(&key);
        let Some((name, value)) = config.get_key_value(&*key) else {
            continue;
        };
        copies += 2 * size_of::<(u32, u32)>() + text_bytes(name) + text_bytes(value);
        let pair = known
            .entry(name)
            .or_insert_with(|| (name.as_str().into(), value.as_str().into()));
        found.push(pair.clone());
    }
    // It would not fit the plugin's memory, into which it is copied.
    store.data_mut().charge_list(NAME, list.max(copies))?;
    Ok(found)
}

fn logging(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut logging = linker.instance("zlayer:plugin/logging@0.1.0")?;
    logging.func_wrap(
        "log-structured",
        |mut store: Store<'_>, (level, message, fields): (Level, WasmStr, WasmList<Pair>)| {
            let message = beginning(&store, &message)?;
            let fields = pairs(&mut store, &fields, RECORD_FIELDS)?;
            logging::Host::log_structured(store.data_mut(), level, message, fields);
            Ok(())
        },
    )
}

fn metrics(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut metrics = linker.instance("zlayer:plugin/metrics@0.1.0")?;
    metrics.func_wrap(
        "counter-inc-labeled",
        |mut store: Store<'_>, (name, value, labels): (String, u64, WasmList<Pair>)| {
            let labels = pairs(&mut store, &labels, MOST_LABELS + 1)?;
            metrics::Host::counter_inc_labeled(store.data_mut(), name, value, labels);
            Ok(())
        },
    )?;
    metrics.func_wrap(
        "gauge-set-labeled",
        |mut store: Store<'_>, (name, value, labels): (String, f64, WasmList<Pair>)| {
            let labels = pairs(&mut store, &labels, MOST_LABELS + 1)?;
            metrics::Host::gauge_set_labeled(store.data_mut(), name, value, labels);
            Ok(())
        },
    )?;
    metrics.func_wrap(
        "histogram-observe-labeled",
        |mut store: Store<'_>, (name, value, labels): (String, f64, WasmList<Pair>)| {
            let labels = pairs(&mut store, &labels, MOST_LABELS + 1)?;
            metrics::Host::histogram_observe_labeled(store.data_mut(), name, value, labels);
            Ok(())
        },
    )?;
    metrics.func_wrap(
        "record-duration-labeled",
        |mut store: Store<'_>, (name, value, labels): (String, u64, WasmList<Pair>)| {
            let labels = pairs(&mut store, &labels, MOST_LABELS + 1)?;
            metrics::Host::record_duration_labeled(store.data_mut(), name, value, labels);
            Ok(())
        },
    )
}

/// The first pairs of a list, at most `most`.
fn pairs(
    store: &mut Store<'_>,
    list: &WasmList<Pair>,
    most: usize,
) -> wasmtime::Result<Vec<KeyValue>> {
    let read = list.iter(&mut *store)?.take(most);
    let pairs: Vec<Pair> = read.collect::<wasmtime::Result<_>>()?;
    let texts = pairs.iter().map(|Pair { key, value }| {
        Ok(KeyValue {
            key: beginning(store, key)?,
            value: beginning(store, value)?,
        })
    });
    texts.collect()
}

/// As much of a text as matters to a record or a label: the engine lets each argument be as long as
/// a call may hand over, and Latin-1 and UTF-16 grow when they are read.
fn beginning(store: &Store<'_>, text: &WasmStr) -> wasmtime::Result<String> {
    let text = text.to_str(store)?;
    // A secret that begins within what is shown has to be recognised.
    // What is cut there is told from what ends there by one more character, which has 4 bytes at most.
    let most = super::logging::RECORD_BYTES + redact::longest() + 4;
    Ok(text[..text.floor_char_boundary(most)].to_owned())
}

fn io(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    // The version is the one that wasmtime-wasi links; a plugin that imports an older one is matched
    // to it.
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.func_wrap_async(
        "poll",
        |mut store: Store<'_>, (list,): (WasmList<Resource<DynPollable>>,)| {
            Box::new(async move {
                no_longer_than("wasi:io/poll.poll", list.len(), POLLED)?;
                let pollables = list.iter(&mut store)?;
                let pollables = pollables.collect::<wasmtime::Result<_>>()?;
                let ready = poll::Host::poll(store.data_mut(), pollables).await?;
                Ok((ready,))
            })
        },
    )
}

fn http(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[static]fields.from-list",
        |mut store: Store<'_>, (entries,): (WasmList<(String, Vec<u8>)>,)| {
            no_longer_than("fields.from-list", entries.len(), HEADER_FIELDS)?;
            let entries = entries.iter(&mut store)?;
            let entries = entries.collect::<wasmtime::Result<_>>()?;
            let made = types::HostFields::from_list(store.data_mut(), entries);
            Ok((told(&mut store, made)?,))
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>,
         (fields, name, values): (Resource<FieldMap>, WasmStr, WasmList<Vec<u8>>)| {
            no_longer_than("fields.set", values.len(), HEADER_FIELDS)?;
            // The values may be as long as a call may hand over; not both.
            let name = name.to_str(&store)?;
            if name.len() > FIELDS_BYTES {
                return Ok((Err(HeaderError::InvalidSyntax),));
            }
            let name = name.into_owned();
            let values = values.iter(&mut store)?;
            let values = values.collect::<wasmtime::Result<_>>()?;
            let set = types::HostFields::set(store.data_mut(), fields, name, values);
            Ok((told(&mut store, set)?,))
        },
    )
}

/// What the plugin is told of a result.
fn told<T>(
    store: &mut Store<'_>,
    result: HeaderResult<T>,
) -> wasmtime::Result<Result<T, HeaderError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => types::Host::convert_header_error(store.data_mut(), error).map(Err),
    }
}

fn no_longer_than(function: &str, length: usize, most: usize) -> wasmtime::Result<()> {
    wasmtime::ensure!(
        length <= most,
        "{function}: a list of {length}, and one call may hand over {most}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_with_many_texts_or_with_long_ones() {
        let pieces = |text: &str, count: usize| {
            let (mut piece, mut full) = (Piece::default(), 0);
            for _ in 0..count {
                if piece.is_full() {
                    (piece, full) = (Piece::default(), full + 1);
                }
                piece.add(text);
            }
            full
        };
        assert_eq!(pieces("k", 1024), 0);
        assert_eq!(pieces("k", 100_000), 97);
        assert_eq!(pieces(&"k".repeat(64 << 10), 100), 24);
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_with_its_limit() {
        assert!(no_longer_than("f", POLLED, POLLED).is_ok());
        let told = no_longer_than("f", POLLED + 1, POLLED).map_err(|error| error.to_string());
        let expected = "f: a list of 4097, and one call may hand over 4096";
        assert_eq!(told, Err(expected.to_owned()));
    }
}
