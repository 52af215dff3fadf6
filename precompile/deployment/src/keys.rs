//! The table of keys: which there are in a `deployment.yaml`, what each may hold, and what it does.

mod device;
pub(crate) mod service;
mod wasm;

use zlayer_bundle::SERVICES_MAX;

use crate::patterns;
use crate::shape::{Key, Shape, Text, key, word};
use device::DEVICE;
use service::SERVICE;

/// Most instances of a plugin at the same time. The daemon's configuration has the same bound, and so with the
/// other numbers here.
const INSTANCES_MAX: u64 = 1024;

/// The keys of the file.
pub(crate) static FILE: &[Key] = &[
    key(
        "version",
        Shape::Word(&[word("v1")]),
        "",
        "the version of the file's format",
    )
    .required(),
    key(
        "deployment",
        Shape::Text(NAME),
        "",
        "the deployment's name: a device counts the releases of each by itself",
    )
    .required(),
    key(
        "release",
        Shape::Number(0, u64::MAX),
        "0",
        "a number to raise with each release: a device goes to a higher one, and back only to what it ran before",
    ),
    key(
        "device",
        Shape::Map(DEVICE),
        "what the daemon's flags say",
        "what concerns the device as a whole",
    ),
    key(
        "services",
        Shape::Named(NAME, &Shape::Map(SERVICE), 1, SERVICES_MAX),
        "",
        "the plugins by their names, in the order in which they take part",
    )
    .required(),
];

/// A name of a deployment or a service: it becomes a part of file names, of labels of metrics and of flags.
const NAME: Text = Text {
    what: "name",
    like: Some(patterns::name),
    check: is_name,
};

fn is_name(name: &str) -> Result<(), String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins = name.bytes().next().is_some_and(letter);
    let goes_on = name
        .bytes()
        .all(|byte| letter(byte) || b"-._".contains(&byte));
    match begins && goes_on && name.len() <= 63 {
        true => Ok(()),
        false => Err(format!(
            "'{}' is no name; write lower-case letters, digits, `-`, `.` and `_`, at most 63, with a letter or a \
             digit first",
            name.escape_debug()
        )),
    }
}
