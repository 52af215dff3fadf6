//! What holds for whatever a name server or a file of the device says. The fuzz targets check it, and
//! so does a test.

use std::net::IpAddr;
use std::time::Duration;

use super::hosts::Hosts;
use super::message::{ADDRESSES, Family, Question, Reply};
use super::resolv_conf::ResolvConf;

/// The questions that replies are read for.
const QUESTIONS: [(&str, Family); 4] = [
    ("a.example", Family::V4),
    ("a.example", Family::V6),
    ("x", Family::V4),
    ("_dns.many.labels.in.a.name.example.", Family::V6),
];
const ID: u16 = 0x1234;

/// Reads `input` as a reply: its first byte chooses the question, and whether the rest is the whole
/// message or what follows header and question, whose counts and flags come first then.
pub fn reply(input: &[u8]) {
    let [kind, rest @ ..] = input else {
        return;
    };
    let (name, family) = QUESTIONS[usize::from(kind / 2) % QUESTIONS.len()];
    let Some(question) = Question::new(name, family) else {
        panic!("{name} is a name");
    };
    let mut message = question.encode(ID).as_slice().to_vec();
    match (kind % 2, rest) {
        (0, [flags, code, answers, authority, records @ ..]) => {
            message[2] = 0x80 | flags;
            message[3] = *code;
            message[7] = *answers;
            message[9] = *authority;
            message.extend_from_slice(records);
        }
        _ => message = rest.to_vec(),
    }
    let read = question.read(ID, &message);
    // Whoever guesses another id or name is not listened to.
    if message.get(..2) == Some(&ID.to_be_bytes()) {
        assert_eq!(question.read(ID ^ 1, &message), None);
    }
    let longest = Duration::from_secs(1 << 31);
    match read {
        Some(Reply::Addresses(found, time)) => {
            assert!((1..=ADDRESSES).contains(&found.len()) && time < longest);
            let is_v4 = family == Family::V4;
            assert!(found.iter().all(|address| address.is_ipv4() == is_v4));
        }
        Some(Reply::NoAddress(time) | Reply::NoName(time)) => {
            assert!(time.is_none_or(|time| time < longest));
        }
        _ => {}
    }
}

/// Reads `text` as the resolver's configuration, and looks names up by it; whatever it says, lines
/// behind it are read.
pub fn configuration(text: &str) {
    let conf = ResolvConf::parse(text);
    assert!((1..=3).contains(&conf.servers.len()) && conf.search.len() <= 6);
    assert!(conf.timeout <= Duration::from_secs(30) && conf.attempts <= 5 && conf.ndots <= 15);
    for name in ["a", "a.b", "a.b.", text] {
        let candidates = conf.candidates(name);
        assert!((1..=7).contains(&candidates.len()));
        let full = name.strip_suffix('.').unwrap_or(name);
        assert!(candidates.iter().any(|one| one == full));
        for one in candidates {
            if Question::new(&one, Family::V4).is_some() {
                assert!(one.len() <= 254);
            }
        }
    }
    let more = "nameserver 192.0.2.77\nsearch Lan\noptions ndots:3 rotate";
    let more = ResolvConf::parse(&format!("{text}\n{more}"));
    let last = more.servers.last().map(|server| server.address.to_string());
    assert!(more.servers.len() == 3 || last.as_deref() == Some("192.0.2.77"));
    assert!(more.search == ["lan".into()] && more.ndots == 3 && more.rotate);
    assert_eq!((more.timeout, more.use_tcp), (conf.timeout, conf.use_tcp));
}

/// Reads `text` as a hosts file, and looks for each of its words: what is found stands there, in no
/// comment, and a line in front of it is found first.
pub fn hosts(text: &str) {
    let commented: String = text.lines().map(|line| format!("# {line}\n")).collect();
    let commented = Hosts::parse(commented);
    let hosts = Hosts::parse(text.to_owned());
    for word in text.split_ascii_whitespace().take(16) {
        let name = word.to_ascii_lowercase();
        let found = hosts.find(&name);
        assert!(found.len() <= 2 * ADDRESSES);
        let stands = |address: &IpAddr| {
            let mut words = text.split([' ', '\t', '\n', '\r', '\x0c', '#']);
            words.any(|word| word.parse() == Ok(*address))
        };
        assert!(found.iter().all(stands));
        assert!(commented.find(&name).is_empty());
        if !name.contains('#') && !name.ends_with('.') {
            let first = IpAddr::from([192, 0, 2, 77]);
            let more = Hosts::parse(format!("{first} x {word}\n{text}"));
            let mut wanted = found;
            wanted.retain(|one| *one != first);
            wanted.insert(0, first);
            wanted.truncate(2 * ADDRESSES);
            assert_eq!(more.find(&name), wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_stands_in_the_files_of_a_device_keeps_the_rules() {
        mutations::each("files", 20_000, |input| {
            let text = String::from_utf8_lossy(input);
            super::configuration(&text);
            super::hosts(&text);
        });
    }

    #[test]
    fn whatever_a_name_server_says_keeps_the_rules() {
        mutations::each("dns", 50_000, super::reply);
    }
}
