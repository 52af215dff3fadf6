//! Links within the repository: to files, folders and headings.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::files;

#[test]
fn no_page_has_a_dead_link() {
    let pages = files(|path| path.extension().is_some_and(|extension| extension == "md"));
    let dead: Vec<String> = pages
        .iter()
        .flat_map(|path| dead_links(path, &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(
        pages.len() >= 8,
        "only {} pages were looked at",
        pages.len()
    );
}

#[test]
fn a_dead_link_is_found_in_every_form() {
    let here = super::root().join("README.md");
    let dead = |text: &str| dead_links(&here, text).len();
    for text in [
        "[a](docs/none.md)",
        "[a](#no-such-heading)",
        "[a](docs/device.md#no-such-heading)",
        "![a](none.png) and [b](wit)",
        "[a]: none.md",
    ] {
        assert_eq!(dead(text), 1, "{text}");
    }
    for text in [
        "[a](docs/device.md#exit-codes) [b](wit/) [c](https://example.org/none)",
        "# A `b`, c!\n[a](#a-b-c)",
        "`[a](none.md)`",
        "```\n[a](none.md)\n```",
        "# Twice\n# Twice\n[a](#twice-1)",
    ] {
        assert_eq!(dead(text), 0, "{text}");
    }
}

/// Every link of a page that leads nowhere, with the page's path.
fn dead_links(path: &Path, text: &str) -> Vec<String> {
    let text = without_code(text);
    let is_dead = |link: &&str| {
        if link.contains("://") || link.starts_with("mailto:") {
            return false;
        }
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => path.to_owned(),
            file => path.parent().unwrap().join(file),
        };
        if heading.is_empty() || file.is_empty() {
            return !target.exists() || !heading.is_empty() && !has(&text, heading);
        }
        !fs::read_to_string(&target).is_ok_and(|text| has(&without_code(&text), heading))
    };
    let inline = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    let named = text
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    inline
        .chain(named.map(|(_, link)| link.trim()))
        .filter(is_dead)
        .map(|link| format!("{}: {link}", path.display()))
        .collect()
}

/// A page without its blocks and spans of code; headings keep what their spans say.
fn without_code(text: &str) -> String {
    let mut is_block = false;
    let mut kept = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_block ^= is_fence;
        if is_fence || is_block {
            continue;
        }
        match line.starts_with('#') {
            true => kept.push_str(line),
            false => line
                .split('`')
                .step_by(2)
                .for_each(|part| kept.push_str(part)),
        }
        kept.push('\n');
    }
    kept
}

/// Whether a heading has this anchor, as GitHub makes them.
fn has(text: &str, anchor: &str) -> bool {
    let mut seen: HashMap<String, u32> = HashMap::new();
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let plain: String = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let times = seen.entry(plain.clone()).or_default();
            *times += 1;
            match *times {
                1 => plain == anchor,
                times => format!("{plain}-{}", times - 1) == anchor,
            }
        })
}
