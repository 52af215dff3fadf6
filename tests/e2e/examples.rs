//! The plugins in `examples/`: each one's first comment shows how it is run, what a client asks and
//! what comes back. Here exactly that is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tungstenite::http::StatusCode;
use zlayer_bundle::{Role, read_manifest};

use crate::support::{Daemon, Response, artifact, bundle, eventually, request};
use crate::websocket::{echoes, open};

mod does_what_its_comment_shows {
    use super::follow;

    #[test]
    fn api_key_authenticator() {
        follow("api-key-authenticator");
    }

    #[test]
    fn header_transformer() {
        follow("header-transformer");
    }

    #[test]
    fn hello() {
        follow("hello");
    }

    #[test]
    fn path_router() {
        follow("path-router");
    }

    #[test]
    fn per_client_limiter() {
        follow("per-client-limiter");
    }

    #[test]
    fn security_headers() {
        follow("security-headers");
    }

    #[test]
    fn smart_cache() {
        follow("smart-cache");
    }

    #[test]
    fn visit_counter() {
        follow("visit-counter");
    }

    #[test]
    fn websocket_echo() {
        follow("websocket-echo");
    }
}

#[test]
fn every_example_is_tested_and_every_role_has_one() {
    let tests = include_str!("examples.rs");
    for name in names() {
        let test = format!("follow(\"{name}\");");
        assert!(tests.contains(&test), "no test of examples/{name}");
    }
    let played: BTreeSet<Role> = names().iter().flat_map(|name| roles(name)).collect();
    assert_eq!(played, BTreeSet::from(Role::ALL));
}

#[test]
fn the_readme_has_a_row_for_each_example_with_its_role_and_its_command() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for name in names() {
        let link = format!("[`{name}`]({name}/src/lib.rs)");
        let mut rows = readme.lines().filter(|line| line.starts_with('|'));
        let row = rows.find(|line| line.contains(&link));
        let row = row.unwrap_or_else(|| panic!("no row with {link} in examples/README.md"));
        for role in roles(&name) {
            assert!(row.contains(&format!("| {role} |")), "{role}: {row}");
        }
        let steps = transcript(&name);
        let mut commands = steps.iter().map(|step| step.command.as_str());
        let run = commands
            .rfind(|command| command.starts_with("zlayer run "))
            .unwrap();
        assert!(row.contains(&format!("| `{run}` |")), "{run}\n{row}");
    }
}

#[test]
fn the_websocket_example_says_back_what_a_client_says() {
    let daemon = Daemon::start("websocket-echo");
    let mut socket = open(&daemon, "/", &[]);
    echoes(&mut socket, "hello");
    echoes(&mut socket, "hello again");
    // As browsers do, this client gives up where none of those that it offers is chosen.
    let offer = [("sec-websocket-protocol", "chat, other")];
    echoes(&mut open(&daemon, "/", &offer), "hello");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The examples: every folder that holds a package.
fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let packages = entries.filter(|entry| entry.path().join("Cargo.toml").exists());
    packages
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// What an example can do, as the compiler found it out.
fn roles(name: &str) -> Vec<Role> {
    let file = File::open(artifact(name)).unwrap();
    read_manifest(&file).unwrap().0.roles
}

/// A command that a comment shows, and the lines below it.
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands in the first comment of an example.
fn transcript(name: &str) -> Vec<Step> {
    let source = fs::read_to_string(folder().join(name).join("src/lib.rs")).unwrap();
    let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
    let block = comment
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| *line != "```console")
        .skip(1)
        .take_while(|line| *line != "```");
    let mut steps: Vec<Step> = Vec::new();
    for line in block {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            let shown = Vec::new();
            steps.push(Step { command, shown });
            continue;
        }
        let step = steps.last_mut().expect("a command comes first");
        match step.command.strip_suffix('\\') {
            Some(begun) => step.command = format!("{begun}{}", line.trim_start()),
            None => step.shown.push(line.to_owned()),
        }
    }
    steps
}

/// Does what the first comment of an example shows, and compares what comes back.
fn follow(name: &str) {
    let mut daemons = BTreeMap::new();
    let mut responses = 0;
    let steps = transcript(name);
    // Every comment begins alike; the suite has done that already. A deployment names its plugins from its
    // own folder.
    let mut begin = vec!["cargo build --release --target wasm32-wasip2"];
    if !steps.iter().any(|step| step.command.contains(DEPLOYMENT)) {
        begin.push("cd target/wasm32-wasip2/release");
    }
    let shown = steps.iter().map(|step| &*step.command);
    assert!(shown.take(begin.len()).eq(begin.iter().copied()), "{name}");
    for step in &steps[begin.len()..] {
        let words = words(&step.command);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        match &words[..] {
            ["zlayer", "run", flags @ ..] => {
                let (port, daemon) = start(flags, &daemons);
                daemons.insert(port, daemon);
            }
            ["curl", rest @ ..] => {
                let curl = Curl::parse(rest);
                // What was stored is there when the last byte of the response has gone by.
                let stored = |line: &String| line.starts_with("cache-status: zlayer; hit");
                if step.shown.iter().any(stored) {
                    eventually(&step.command, || {
                        curl.compare(&curl.response(&daemons), &step.shown).is_ok()
                    });
                }
                let response = curl.response(&daemons);
                let same = curl.compare(&response, &step.shown);
                same.unwrap_or_else(|wrong| panic!("{}: {wrong}: {response:?}", step.command));
                responses += 1;
            }
            other => panic!("the tests cannot do this: {other:?}"),
        }
    }
    assert!(responses > 0, "{name} shows no response");
}

/// Starts what a comment shows, at a port of its own, and answers the port that the comment names.
fn start(words: &[&str], others: &BTreeMap<String, Daemon>) -> (String, Daemon) {
    let (deployment, flags) = match words.split_first() {
        Some((file, flags)) if file.ends_with(DEPLOYMENT) => (Some(file), flags),
        _ => (None, words),
    };
    let mut files = Vec::new();
    let mut rest = Vec::new();
    let mut port = None;
    for pair in flags.chunks(2) {
        let &[flag, value] = pair else {
            panic!("{pair:?} is no flag with a value");
        };
        match flag {
            "--wasm" => files.push(compiled(value)),
            "--port" => port = Some(value.to_owned()),
            _ => rest.extend([flag.to_owned(), value.to_owned()]),
        }
    }
    files.extend(deployment.map(|file| bundle(&of_the_suite(file, others))));
    let builder = Daemon::of(&files[0]).args(rest);
    let builder = files[1..]
        .iter()
        .fold(builder, |it, file| it.with_file(file));
    (port.expect("a port"), builder.start())
}

/// What the deployments of the examples are called.
const DEPLOYMENT: &str = "/deployment.yaml";

/// The text of a deployment, with the plugins that the suite has compiled and the addresses that the other
/// daemons really have.
fn of_the_suite(file: &str, others: &BTreeMap<String, Daemon>) -> String {
    let mut text = fs::read_to_string(folder().join(file)).unwrap();
    for (port, daemon) in others {
        let address = daemon.addr().to_string();
        text = text.replace(&format!("127.0.0.1:{port}"), &address);
    }
    let lines = text.lines().map(|line| {
        const IMAGE: &str = "image: ";
        let Some((before, image)) = line.split_once(IMAGE) else {
            return line.to_owned();
        };
        assert!(image.starts_with("../target/wasm32-wasip2/release/"));
        // A string of JSON is one of YAML.
        let compiled = compiled(image).to_string_lossy().into_owned();
        format!("{before}{IMAGE}{}", serde_json::Value::from(compiled))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the suite has compiled of a file that cargo built.
fn compiled(file: &str) -> PathBuf {
    let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
    artifact(&package(name))
}

/// The package of a file that cargo built, and the name of the file that `cargo boards guests`
/// wrote.
fn package(file: &str) -> String {
    file.replace('_', "-")
}

/// The words of a command, as a shell parts them.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for next in command.chars() {
        match (quote, next) {
            (Some(end), _) if next == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(next),
        }
    }
    words.extend(word);
    words
}

/// A call of curl, of which the comments use this much.
struct Curl<'a> {
    /// `-i`: the head is shown, too.
    with_head: bool,
    fields: Vec<(&'a str, &'a str)>,
    port: &'a str,
    target: String,
}

impl<'a> Curl<'a> {
    fn parse(words: &[&'a str]) -> Curl<'a> {
        let (mut with_head, mut fields, mut url) = (false, Vec::new(), None);
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "-i" => with_head = true,
                "-H" => fields.push(words.next().unwrap().split_once(": ").unwrap()),
                _ => url = word.strip_prefix("http://localhost:"),
            }
        }
        let (port, path) = url.expect("a URL here").split_once('/').expect("a path");
        Curl {
            with_head,
            fields,
            port,
            target: format!("/{path}"),
        }
    }

    fn response(&self, daemons: &BTreeMap<String, Daemon>) -> Response {
        request(&daemons[self.port], "GET", &self.target, &self.fields, b"")
    }

    /// Says what differs between a response and what is shown of it. `...` stands for more fields,
    /// and at the end of a value for the rest of it; a body that is not shown may be any.
    fn compare(&self, response: &Response, shown: &[String]) -> Result<(), String> {
        let end = shown.iter().position(String::is_empty);
        let (head, body) = match (self.with_head, end) {
            (false, _) => (&[][..], Some(shown)),
            (true, Some(end)) => (&shown[..end], Some(&shown[end + 1..])),
            (true, None) => (shown, None),
        };
        if let Some((status, fields)) = head.split_first() {
            let code = StatusCode::from_u16(response.status).unwrap();
            if *status != format!("HTTP/1.1 {code}") {
                return Err(format!("not {status}"));
            }
            for field in fields.iter().filter(|line| *line != "...") {
                let (name, value) = field.split_once(": ").unwrap();
                let given = response.header(name).unwrap_or_default();
                let is_shown = match value.strip_suffix("...") {
                    Some(begin) => given.starts_with(begin),
                    None => given == value,
                };
                if !is_shown {
                    return Err(format!("not {field}"));
                }
            }
        }
        match body.map(|lines| lines.join("\n")) {
            Some(body) if response.text().trim_end() != body => Err(format!("not {body:?}")),
            _ => Ok(()),
        }
    }
}
