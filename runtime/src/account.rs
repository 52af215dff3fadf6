//! The account that the daemon becomes once its port is bound.
//!
//! `/etc/passwd` and `/etc/group` are read here, since a static program has no part of the C library
//! that would ask anything else (NSS). Accounts that are only in a directory service are named by
//! their numbers.

use std::fmt;
use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::device;
use crate::error::{Error, Result};

/// Where accounts are: `NAME:x:UID:GID:…`, one a line.
const PASSWD: &str = "/etc/passwd";
/// Where groups are: `NAME:x:GID:MEMBER,MEMBER`, one a line.
const GROUP: &str = "/etc/group";

/// An account, and the groups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: Option<String>,
    uid: Uid,
    gid: Gid,
    /// Whether the group was named, so that no other will do.
    is_group_named: bool,
    groups: Vec<Gid>,
}

impl Account {
    /// Finds what `NAME`, `NAME:GROUP` or the numbers of either stand for. With a group, that one
    /// alone counts; without, all that the account is in.
    ///
    /// # Errors
    ///
    /// There is no such account or group, or it is root's.
    pub fn find(word: &str) -> std::result::Result<Account, String> {
        let file = |path| device::read(Path::new(path)).unwrap_or_default();
        find(word, &file(PASSWD), &file(GROUP))
    }

    /// The numbers of the account and of its first group.
    pub fn ids(&self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

    /// Whether this process is about to become another account than it has.
    ///
    /// # Errors
    ///
    /// It has another one, or another group than was named, and is not root.
    pub fn is_another(&self) -> Result<bool> {
        if getuid() == self.uid && geteuid() == self.uid {
            let has_group = getgid() == self.gid && getegid() == self.gid;
            if has_group || !self.is_group_named {
                return Ok(false);
            }
            return Err(Error::Usage(format!(
                "--user {self}: this is that account in group {}, and only root can change to \
                 group {}; leave the flag out, or start it as root",
                getegid().as_raw(),
                self.gid.as_raw()
            )));
        }
        match geteuid().is_root() {
            true => Ok(true),
            false => Err(Error::Usage(format!(
                "--user {self}: only root can become another account, and this is account {}; \
                 leave the flag out, or start it as root",
                geteuid().as_raw()
            ))),
        }
    }

    /// Has `work` done with its rights, and goes back to those of root. Nothing may be written meanwhile, and no
    /// program started.
    ///
    /// # Errors
    ///
    /// What `work` fails with, or the system does not let this process.
    pub fn act_as<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = (geteuid(), getegid());
        let refused = |errno: rustix::io::Errno| {
            let what = format!("--user {self}: the system does not let this process try as it");
            Error::device(what, errno.into())
        };
        let own_groups = getgroups().map_err(refused)?;
        let change =
            |groups: &[Gid], gid: Gid, uid: Uid, root_first: bool| -> rustix::io::Result<()> {
                if root_first {
                    set_thread_res_uid(None, uid, None)?;
                }
                set_thread_groups(groups)?;
                set_thread_res_gid(None, gid, None)?;
                match root_first {
                    true => Ok(()),
                    false => set_thread_res_uid(None, uid, None),
                }
            };
        let worked = match change(&self.groups, self.gid, self.uid, false) {
            Ok(()) => work(),
            Err(errno) => Err(refused(errno)),
        };
        change(&own_groups, own.1, own.0, true).map_err(refused)?;
        worked
    }

    /// Becomes it, for good. Rights belong to the calling thread and go on to those that it starts,
    /// so this comes before all others are.
    ///
    /// # Errors
    ///
    /// The system does not let this process.
    pub fn assume(&self) -> Result<()> {
        // In this order: who is no longer root may change no groups.
        let become_it = || {
            set_thread_groups(&self.groups)?;
            set_thread_res_gid(self.gid, self.gid, self.gid)?;
            set_thread_res_uid(self.uid, self.uid, self.uid)
        };
        become_it().map_err(|errno| {
            let what = format!("--user {self}: the system does not let this process become it");
            Error::device(what, errno.into())
        })?;
        // Where it could be root again, it was not dropped.
        match set_thread_res_uid(None, Uid::ROOT, None) {
            Err(_) => Ok(()),
            Ok(()) => Err(Error::device(
                format!("--user {self}: this process can still become root"),
                std::io::Error::other("the system keeps capabilities over the change"),
            )),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.uid.as_raw()),
            None => write!(f, "{}", self.uid.as_raw()),
        }
    }
}

fn find(word: &str, passwd: &str, group: &str) -> std::result::Result<Account, String> {
    let (user, named_group) = match word.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (word, None),
    };
    if user.is_empty() || named_group.is_some_and(str::is_empty) {
        return Err("wants NAME, NAME:GROUP or numbers".to_owned());
    }
    let number = user.parse::<u32>().ok();
    let entry = lines(passwd).find(|fields| match number {
        Some(number) => numbered(fields, 2) == Some(number),
        None => fields.first() == Some(&user),
    });
    let name = entry.as_ref().and_then(|fields| fields.first().copied());
    let uid = number.or_else(|| numbered(entry.as_ref()?, 2));
    let uid = uid.ok_or_else(|| {
        format!(
            "{PASSWD} has no account '{user}'; make one (useradd --system {user}), or give numbers, UID:GID"
        )
    })?;
    let (gid, groups) = match named_group {
        Some(named) => {
            let gid = group_number(named, group)?;
            (gid, vec![gid])
        }
        None => {
            // An account that is not listed has a group of its own number, as it has elsewhere.
            let first = entry.as_ref().and_then(|fields| numbered(fields, 3));
            let gid = first.unwrap_or(uid);
            (gid, groups_of(name, gid, group))
        }
    };
    if uid == 0 {
        return Err(format!(
            "'{word}': '{user}' is root, whose rights this flag is there to give up; name another account, or \
             leave the flag out"
        ));
    }
    if groups.contains(&0) {
        return Err(match named_group {
            Some(_) => format!(
                "'{word}': that group is root's, whose files this flag is there to give up; name another group"
            ),
            None => format!(
                "'{word}': '{user}' is in root's group, whose files this flag is there to give up; name a group as \
                 well, {user}:GROUP, or take the account out of group 0"
            ),
        });
    }
    // All ones mean "leave it as it is" to the kernel.
    for (number, what, given) in [
        (uid, "account", user),
        (gid, "group", named_group.unwrap_or(user)),
    ] {
        if number == u32::MAX {
            return Err(format!(
                "'{word}': {given} is the number of no {what}; the highest is {}",
                u32::MAX - 1
            ));
        }
    }
    Ok(Account {
        name: name.map(str::to_owned),
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(gid),
        is_group_named: named_group.is_some(),
        groups: groups.into_iter().map(Gid::from_raw).collect(),
    })
}

fn group_number(named: &str, group: &str) -> std::result::Result<u32, String> {
    let listed = lines(group).find(|fields| fields.first() == Some(&named));
    let number = listed.and_then(|fields| numbered(&fields, 2));
    number.or_else(|| named.parse().ok()).ok_or_else(|| {
        format!("{GROUP} has no group '{named}'; make one (groupadd --system {named}), or give its number")
    })
}

/// The group `first`, and all that list the account `name` as a member.
fn groups_of(name: Option<&str>, first: u32, group: &str) -> Vec<u32> {
    let mut groups = vec![first];
    let Some(name) = name else { return groups };
    for fields in lines(group) {
        let is_member = fields
            .get(3)
            .is_some_and(|members| members.split(',').any(|member| member == name));
        match numbered(&fields, 2) {
            Some(number) if is_member && !groups.contains(&number) => groups.push(number),
            _ => {}
        }
    }
    groups
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().map(|line| line.trim().split(':').collect())
}

fn numbered(fields: &[&str], place: usize) -> Option<u32> {
    fields.get(place)?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a comment, and a line that is none\n\nnonsense\n\
        zlayer:x:990:991::/:/usr/sbin/nologin\n\
        operator:x:11:0::/root:/bin/sh\nadmin:x:12:12::/:/bin/sh\n";
    const GROUPS: &str = "root:x:0:admin\nzlayer:x:991:\ndialout:x:20:pi,zlayer\ngpio:x:997:zlayer\n\
        spi:x:998:pi\n";

    fn found(word: &str) -> (Option<String>, u32, u32, Vec<u32>) {
        let found = find(word, USERS, GROUPS).unwrap();
        let groups = found.groups.iter().map(|group| group.as_raw()).collect();
        (found.name, found.uid.as_raw(), found.gid.as_raw(), groups)
    }

    #[test]
    fn accounts_are_found_by_name_and_by_number() {
        let own = Some("zlayer".to_owned());
        let all = vec![991, 20, 997];
        assert_eq!(found("zlayer"), (own.clone(), 990, 991, all.clone()));
        assert_eq!(found("990"), (own.clone(), 990, 991, all));
        assert_eq!(found("zlayer:gpio"), (own.clone(), 990, 997, vec![997]));
        assert_eq!(found("zlayer:5"), (own, 990, 5, vec![5]));
        // In no file, as in an empty root.
        assert_eq!(found("1234"), (None, 1234, 1234, vec![1234]));
        assert_eq!(found("1234:5"), (None, 1234, 5, vec![5]));
        // A group that is named is the only one.
        assert_eq!(
            found("operator:gpio"),
            (Some("operator".to_owned()), 11, 997, vec![997])
        );
    }

    #[test]
    fn what_is_not_there_is_named_with_what_makes_it() {
        for (word, said) in [
            ("nobody-here", "useradd --system nobody-here"),
            ("zlayer:nothing", "groupadd --system nothing"),
            ("root", "'root' is root"),
            ("0", "'0' is root"),
            ("0:1000", "'0:1000': '0' is root"),
            ("root:gpio", "'root' is root"),
            ("root:0", "'root' is root"),
            ("zlayer:0", "'zlayer:0': that group is root's"),
            ("zlayer:root", "'zlayer:root': that group is root's"),
            ("1234:0", "'1234:0': that group is root's"),
            // By the account's own entry, and as one more group.
            ("operator", "'operator' is in root's group"),
            ("admin", "'admin' is in root's group"),
            ("12", "'12' is in root's group"),
            (
                "4294967295",
                "4294967295 is the number of no account; the highest is 4294967294",
            ),
            ("5:4294967295", "4294967295 is the number of no group"),
            ("", "NAME"),
            ("zlayer:", "NAME"),
            (":5", "NAME"),
            ("nonsense", "useradd"),
        ] {
            let error = find(word, USERS, GROUPS).unwrap_err();
            assert!(error.contains(said), "{word}: {error}");
        }
    }
}
