//! Messages of the DNS (RFC 1035 section 4): one question out, one reply in.
//!
//! The crate `domain` reads and writes them. It reads in place: whatever a stranger sends, no memory
//! is taken for it, and names that point at each other in a circle end with an error.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::NameBuilder;
use domain::base::{Message, MessageBuilder, Name, ParsedRecord, Ttl};
use domain::dep::octseq::Array;
use domain::rdata::{A, Aaaa, Cname, Soa};

/// Bytes of a question at most: a header (12), the longest name (255), type and class (4).
const QUESTION_BYTES: usize = 12 + 255 + 4;
/// How many records of one section are looked at. A reply with more of them is broken, or means
/// harm.
const RECORDS: usize = 256;
/// How many aliases are followed inside one reply (RFC 1034 section 3.6.2). Those of large
/// networks for content take up to six.
const ALIASES: usize = 12;
/// How many addresses of one family are taken from a reply.
pub(super) const ADDRESSES: usize = 8;

/// The family of the addresses that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Records of type A (RFC 1035 section 3.4.1).
    V4,
    /// Records of type AAAA (RFC 3596).
    V6,
}

impl Family {
    fn record_type(self) -> Rtype {
        match self {
            Family::V4 => Rtype::A,
            Family::V6 => Rtype::AAAA,
        }
    }
}

/// What a name server is asked: the addresses of one family of one name.
pub(super) struct Question {
    name: Name<Array<255>>,
    family: Family,
}

/// What a name server says to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The name has these addresses, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// The name exists, without an address of this family. The time is that of RFC 2308 section 5,
    /// where the reply has one.
    NoAddress(Option<Duration>),
    /// There is no such name (NXDOMAIN), for so long.
    NoName(Option<Duration>),
    /// The reply did not fit: it has to be asked for over TCP (RFC 7766 section 5).
    Truncated,
    /// The server does not know at the moment, or does not want to say.
    Failed(Rcode),
    /// The reply is to this question, and is not valid.
    Malformed,
}

impl Question {
    /// A question for `name`, with or without the dot at its end. None if that is no name: a label
    /// is empty or longer than 63 bytes, or all of it is longer than 255 (RFC 1035 section 2.3.4).
    pub(super) fn new(name: &str, family: Family) -> Option<Question> {
        let mut builder = NameBuilder::<Array<255>>::new();
        for label in name.strip_suffix('.').unwrap_or(name).split('.') {
            // `append_label` takes an empty one for the root.
            if label.is_empty() || builder.append_label(label.as_bytes()).is_err() {
                return None;
            }
        }
        let name = builder.into_name().ok()?;
        Some(Question { name, family })
    }

    /// The message that asks this.
    pub(super) fn encode(&self, id: u16) -> Array<QUESTION_BYTES> {
        let target = Array::<QUESTION_BYTES>::new();
        let Ok(mut builder) = MessageBuilder::from_target(target) else {
            return Array::new(); // It has room for a header: this does not come.
        };
        builder.header_mut().set_id(id);
        // The server is to ask others, since this one asks nobody else (RFC 1035 section 4.1.1).
        builder.header_mut().set_rd(true);
        let mut question = builder.question();
        let asked = (&self.name, self.family.record_type(), Class::IN);
        // It has room for the longest name, too.
        let _ = question.push(asked);
        question.finish()
    }

    /// Reads a message that has come. None if it is no reply to this question: whoever sends it has
    /// not seen the question (RFC 5452 section 9.1), and it is to be ignored.
    pub(super) fn read(&self, id: u16, message: &[u8]) -> Option<Reply> {
        let message = Message::from_octets(message).ok()?;
        let header = message.header();
        if !header.qr() || header.id() != id || header.opcode().to_int() != 0 {
            return None;
        }
        if header.rcode() == Rcode::FORMERR && message.header_counts().qdcount() == 0 {
            // Whoever cannot read a question cannot repeat it. It is believed by its number and
            // ports alone, and says nothing of the name.
            return Some(Reply::Failed(Rcode::FORMERR));
        }
        let asked = message.sole_question().ok()?;
        let is_ours = asked.qname() == &self.name
            && asked.qtype() == self.family.record_type()
            && asked.qclass() == Class::IN;
        if !is_ours {
            return None;
        }
        if header.tc() {
            return Some(Reply::Truncated);
        }
        Some(match header.rcode() {
            Rcode::NOERROR => self.addresses(&message).unwrap_or(Reply::Malformed),
            Rcode::NXDOMAIN => Reply::NoName(negative_time(&message)),
            other => Reply::Failed(other),
        })
    }

    /// The addresses in a reply, behind its aliases. None if it is not valid.
    fn addresses(&self, message: &Message<&[u8]>) -> Option<Reply> {
        let answer = message.answer().ok()?;
        let mut name = message.sole_question().ok()?.into_qname();
        let mut time = Ttl::MAX;
        for _ in 0..=ALIASES {
            let mut found = Vec::new();
            let mut alias = None;
            for record in answer.take(RECORDS) {
                let record = record.ok()?;
                if record.class() != Class::IN || record.owner() != name {
                    continue;
                }
                if let Some(address) = self.address(&record)? {
                    time = time.min(record.ttl());
                    if found.len() < ADDRESSES {
                        found.push(address);
                    }
                } else if alias.is_none()
                    && let Some(cname) = record.to_record::<Cname<_>>().ok()?
                {
                    time = time.min(record.ttl());
                    alias = Some(cname.into_data().into_cname());
                }
            }
            match alias {
                _ if !found.is_empty() => return Some(Reply::Addresses(found, seconds(time))),
                Some(next) => name = next,
                None => return Some(Reply::NoAddress(negative_time(message))),
            }
        }
        None
    }

    /// The address in a record, if it has one of the family that was asked for. None if the record
    /// is not valid.
    fn address(&self, record: &ParsedRecord<'_, &[u8]>) -> Option<Option<IpAddr>> {
        match self.family {
            Family::V4 => {
                let record = record.to_record::<A>().ok()?;
                Some(record.map(|record| IpAddr::V4(record.data().addr())))
            }
            Family::V6 => {
                let record = record.to_record::<Aaaa>().ok()?;
                Some(record.map(|record| IpAddr::V6(record.data().addr())))
            }
        }
    }
}

/// How long it may be believed that something is not there: the smaller of the two times in the SOA
/// record (RFC 2308 section 5). None without such a record.
fn negative_time(message: &Message<&[u8]>) -> Option<Duration> {
    let mut authority = message.authority().ok()?.take(RECORDS);
    authority.find_map(|record| {
        let record = record.ok()?.to_record::<Soa<_>>().ok()??;
        Some(seconds(record.ttl().min(record.data().minimum())))
    })
}

/// A time from a record. One whose highest bit is set is none (RFC 2181 section 8).
fn seconds(time: Ttl) -> Duration {
    let seconds = i32::try_from(time.as_secs()).unwrap_or(0);
    Duration::from_secs(seconds.unsigned_abs().into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::super::tests::server::{Message as Built, alias, v4, v6};
    use super::*;

    const ID: u16 = 0x1234;

    fn question(name: &str) -> Question {
        Question::new(name, Family::V4).unwrap()
    }

    fn reply(name: &str) -> Built {
        Built::reply_to(&question(name).encode(ID))
    }

    fn addresses(texts: &[&str], seconds: u64) -> Reply {
        let texts = texts.iter().map(|text| text.parse().unwrap());
        Reply::Addresses(texts.collect(), Duration::from_secs(seconds))
    }

    #[test]
    fn a_question_is_encoded_as_the_rfc_draws_it() {
        let question = Question::new("a.example.", Family::V6).unwrap();
        let wanted = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x1c\0\x01";
        assert_eq!(question.encode(ID).as_slice(), wanted);
        let longest = [&*"a".repeat(63); 3].join(".") + "." + &"b".repeat(61);
        let encoded = Question::new(&longest, Family::V4).unwrap().encode(ID);
        assert_eq!(encoded.as_slice().len(), QUESTION_BYTES);
        for name in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            &*"a".repeat(64),
            &format!("{longest}b"),
        ] {
            assert!(Question::new(name, Family::V4).is_none(), "{name:?}");
        }
    }

    #[test]
    fn addresses_are_read_with_the_shortest_time() {
        let message = reply("a.example")
            .answer("A.eXample", 300, v4("192.0.2.1"))
            .answer("a.example", 60, v4("192.0.2.2"))
            .answer("b.example", 1, v4("192.0.2.3"))
            .answer("a.example", 1, v6("2001:db8::1"));
        let read = question("a.example").read(ID, &message.bytes());
        assert_eq!(read, Some(addresses(&["192.0.2.1", "192.0.2.2"], 60)));
    }

    #[test]
    fn aliases_are_followed_in_any_order_and_not_for_ever() {
        let message = reply("a")
            .answer("c", 50, v4("192.0.2.1"))
            .answer("b", 40, alias("c"))
            .answer("a", 60, alias("b"));
        let read = question("a").read(ID, &message.bytes());
        assert_eq!(read, Some(addresses(&["192.0.2.1"], 40)));
        let circle = reply("a")
            .answer("a", 60, alias("b"))
            .answer("b", 60, alias("a"));
        let read = question("a").read(ID, &circle.bytes());
        assert_eq!(read, Some(Reply::Malformed));
        // An alias for a name that has no address.
        let message = reply("a").answer("a", 60, alias("b"));
        let read = question("a").read(ID, &message.bytes());
        assert_eq!(read, Some(Reply::NoAddress(None)));
    }

    #[test]
    fn what_is_not_there_is_told_with_its_time() {
        let message = reply("a").rcode(3).soa(900, 30);
        let time = Some(Duration::from_secs(30));
        let read = question("a").read(ID, &message.bytes());
        assert_eq!(read, Some(Reply::NoName(time)));
        let message = reply("a").soa(20, 30);
        let time = Some(Duration::from_secs(20));
        let read = question("a").read(ID, &message.bytes());
        assert_eq!(read, Some(Reply::NoAddress(time)));
        let read = question("a").read(ID, &reply("a").rcode(2).bytes());
        assert_eq!(read, Some(Reply::Failed(Rcode::SERVFAIL)));
        // Some servers cannot read a question, and so do not repeat it.
        let unread = b"\x12\x34\x80\x01\0\0\0\0\0\0\0\0";
        let read = question("a").read(ID, unread);
        assert_eq!(read, Some(Reply::Failed(Rcode::FORMERR)));
        assert_eq!(question("a").read(ID ^ 1, unread), None);
        let cut = reply("a").truncated();
        let read = question("a").read(ID, &cut.bytes());
        assert_eq!(read, Some(Reply::Truncated));
        assert_eq!(seconds(Ttl::from_secs(1 << 31)), Duration::ZERO);
    }

    #[test]
    fn what_is_no_reply_to_the_question_is_ignored() {
        let good = reply("a").answer("a", 60, v4("192.0.2.1")).bytes();
        let question = question("a");
        assert!(question.read(ID, &good).is_some());
        assert_eq!(question.read(ID ^ 1, &good), None);
        let other = Question::new("b", Family::V4).unwrap();
        assert_eq!(other.read(ID, &good), None);
        let other = Question::new("a", Family::V6).unwrap();
        assert_eq!(other.read(ID, &good), None);
        // The question itself, as from somebody who sends back what comes.
        assert_eq!(question.read(ID, question.encode(ID).as_slice()), None);
        assert_eq!(question.read(ID, b""), None);
    }

    #[test]
    fn no_change_of_a_byte_and_no_cut_makes_it_panic() {
        let message = reply("a.example")
            .answer("a.example", 300, alias("b.example"))
            .answer("b.example", 300, v4("192.0.2.1"))
            .soa(1, 1)
            .bytes();
        let question = question("a.example");
        for at in 0..message.len() {
            let _ = question.read(ID, &message[..at]);
            for value in 0..=255 {
                let mut changed = message.clone();
                changed[at] = value;
                let _ = question.read(ID, &changed);
            }
        }
    }
}
