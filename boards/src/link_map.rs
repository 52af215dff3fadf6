//! What a binary is made of, from the map that the linker (lld) writes beside it.

use std::collections::BTreeMap;

/// Bytes of a binary by where they come from, the largest part first.
pub(crate) fn parts(map: &str) -> Vec<(String, u64)> {
    let mut parts = BTreeMap::<String, u64>::new();
    for (origin, section, bytes) in map.lines().filter_map(input_section) {
        // Takes no room in the file.
        if section.starts_with(".bss") || section.starts_with(".tbss") {
            continue;
        }
        *parts.entry(part_of(origin, section)).or_default() += bytes;
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    parts
}

/// One line for a piece of an object file, `VMA LMA SIZE ALIGN ORIGIN:(SECTION)`, as origin, section
/// and size in bytes.
fn input_section(line: &str) -> Option<(&str, &str, u64)> {
    let mut words = line.split_whitespace();
    let bytes = u64::from_str_radix(words.nth(2)?, 16).ok()?;
    // Names may hold spaces: whatever stands behind the alignment.
    let align = words.next()?;
    let rest = &line[line.find(&format!(" {align} "))? + align.len() + 2..];
    let (origin, section) = rest.trim().strip_suffix(')')?.rsplit_once(":(")?;
    Some((origin, section, bytes))
}

/// The crate, or the library that was linked with it.
fn part_of(origin: &str, section: &str) -> String {
    let symbol = section.find("_R").or_else(|| section.find("_ZN"));
    if let Some(name) = symbol.and_then(|at| crate_of(&section[at..])) {
        return name;
    }
    let file = origin.rsplit('/').next().unwrap_or(origin);
    let archive = file.split_once('(').map_or(file, |(archive, _)| archive);
    match archive {
        "<internal>" => "(merged constants)".to_owned(),
        "libc.a" => "musl".to_owned(),
        _ if archive.ends_with(".o") && section.starts_with(".text") => archive.to_owned(),
        _ if archive.ends_with(".o") => "(data that has no name)".to_owned(),
        _ => {
            let name = archive.strip_prefix("lib").unwrap_or(archive);
            let name = name.split(['-', '.']).next().unwrap_or(name);
            name.to_owned()
        }
    }
}

/// The crate that a function comes from: the first that its name tells, unless that is the standard
/// library and another is told. What is generic is compiled for the one that uses it.
fn crate_of(mangled: &str) -> Option<String> {
    // The linker and the optimiser add suffixes behind a dot.
    let mangled = mangled.split('.').next().unwrap_or(mangled);
    let name = format!("{:#}", rustc_demangle::try_demangle(mangled).ok()?);
    let mut roots = crates_in(&name);
    let first = roots.next()?;
    let is_std = |name: &&str| ["core", "alloc", "std"].contains(name);
    let other = [first].into_iter().chain(roots).find(|name| !is_std(name));
    Some(other.unwrap_or(first).to_owned())
}

/// The names in a path like `<a::B as core::C>::d::<e::F>` that stand at the beginning of one: `a`,
/// `core` and `e`.
fn crates_in(name: &str) -> impl Iterator<Item = &str> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let ends = name.match_indices("::").map(|(at, _)| at);
    ends.filter_map(move |end| {
        let begin = name[..end].rfind(|letter| !is_word(letter));
        let begin = begin.map_or(0, |at| at + 1);
        let word = &name[begin..end];
        let is_root = !name[..begin].ends_with("::") && !word.is_empty();
        is_root.then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_added_up_by_crate() {
        let map = "\
             VMA              LMA     Size Align Out     In      Symbol
            1000             1000    7c2e1  4096 .text
            1000             1000       20    16         /t/deps/zlayer-11.zlayer.2e-cgu.0.rcgu.o:(.text._RNvCs1234_7mycrate3foo)
            1020             1020       10    16         /t/deps/zlayer-11.zlayer.2e-cgu.0.rcgu.o:(.text._RINvNtCs4_4core3ptr13drop_in_placeNtCs5_7mycrate3BarE)
            1030             1030        8    16         /t/deps/zlayer-11.zlayer.2e-cgu.0.rcgu.o:(.text._RNvCs4_4core3foo)
            1040             1040      100    16         /t/deps/libring-97f1.rlib(sha256-x86_64.o):(.text)
            1140             1140        4     4         /my musl/libc.a(memcpy.lo):(.text.memcpy)
            1150             1150        2     4         <internal>:(.rodata.cst4)
            1160             1160        1     4         /t/deps/zlayer-11.zlayer.2e-cgu.0.rcgu.o:(.data.rel.ro..Lanon.5d)
            1170             1170     1000     4         /my musl/libc.a(malloc.lo):(.bss.heap)
            1140             1140        0     1                 memcpy
";
        let parts = parts(map);
        let shown: Vec<_> = parts
            .iter()
            .map(|(name, size)| (&name[..], *size))
            .collect();
        assert_eq!(
            shown,
            [
                ("ring", 0x100),
                ("mycrate", 0x30),
                ("core", 8),
                ("musl", 4),
                ("(merged constants)", 2),
                ("(data that has no name)", 1),
            ]
        );
    }

    #[test]
    fn old_names_are_read_too() {
        let name = "_ZN8wasmtime7runtime4func17h0123456789abcdefE";
        assert_eq!(crate_of(name).as_deref(), Some("wasmtime"));
        assert_eq!(crate_of("memcpy"), None);
    }

    #[test]
    fn a_path_is_told_from_its_parts() {
        let name = "<zlayer_runtime::host::State as core::clone::Clone>::clone::<http::Uri>";
        let found: Vec<_> = crates_in(name).collect();
        assert_eq!(found, ["zlayer_runtime", "core", "http"]);
    }
}
