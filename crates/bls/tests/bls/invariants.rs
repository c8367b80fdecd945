//! Properties of all results, for tests and fuzz targets.

use std::cmp::Ordering;

use bls::scan::{Scan, ScanConfig};
use bls::uki::{Addon, Uki, UkiBoot, UkiError};
use bls::{
    BootState, Chid, EntryName, LoaderConf, OsRelease, Pattern, ProfileSelector, Type1, compare,
    compare_versions, compatible_of, root_compatible,
};
use boot_core::{SizedSource, SourceRange};

/// Parses a text as each kind of configuration file. Printing a valid entry and parsing that gives the same entry.
pub(crate) fn check_text(text: &[u8]) {
    match Type1::parse(text) {
        Ok(mut entry) => {
            let printed = entry.to_string();
            entry.notes.clear();
            let mut parsed = Type1::parse(printed.as_bytes()).expect("a printed entry is valid");
            // Only notes that depend on values come back.
            assert!(parsed.notes.len() <= 2, "{:?}", parsed.notes);
            parsed.notes.clear();
            assert_eq!(parsed, entry, "{printed}");
        }
        Err(error) => drop(error.to_string()),
    }
    match LoaderConf::parse(text) {
        Ok(conf) => assert!(conf.notes.len() <= 32),
        Err(error) => drop(error.to_string()),
    }
    if let Ok(os_release) = OsRelease::parse(text) {
        let fields = [os_release.title(), os_release.version(), os_release.sort_key()];
        assert!(fields.iter().flatten().all(|field| !field.is_empty()));
    }
    for chid in [0, 1, 0xff] {
        let _ = compatible_of(text, &[Chid([chid; 16])]);
    }
}

/// Parses a file as a unified kernel image and as an addon. All ranges are inside the file.
pub(crate) fn check_image(file: &[u8]) {
    let source = SizedSource::new(&file).expect("a slice has a length");
    let check = |ranges: &[SourceRange]| {
        assert!(ranges.iter().all(|range| range.end() <= file.len() as u64));
    };
    if let Ok(Some(image)) = Uki::parse(source) {
        assert!(Addon::parse(source).is_err());
        for number in 0..image.profile_count().max(1) {
            let Ok(profile) = image.profile(Some(&ProfileSelector::Number(number))) else {
                continue;
            };
            assert!(!profile.linux.is_empty());
            check(&[profile.linux]);
            for list in [&profile.dtbauto, &profile.efifw] {
                check(list);
            }
            let single = [
                profile.dtb,
                profile.hwids,
                profile.ucode,
                profile.initrd,
                profile.splash,
                profile.sbat,
                profile.pcrsig,
                profile.pcrpkey,
            ];
            single.into_iter().flatten().for_each(|range| check(&[range]));
            let cmdline = profile.cmdline.unwrap_or_default();
            assert!(!cmdline.chars().any(|c| c.is_ascii_control()) && cmdline.trim_matches(' ') == cmdline);
            if let Some(id) = profile.id {
                // An earlier profile with the same identification may be unusable.
                let found = image.profile(Some(&ProfileSelector::Id(id)));
                assert!(!matches!(found, Err(UkiError::NoSuchProfileId { .. })));
            }
        }
        assert!(image.profile(Some(&ProfileSelector::Number(u32::MAX))).is_err());
        check_boot(file);
    } else if let Ok(addon) = Addon::parse(source) {
        check(&addon.dtbauto);
        let single = [addon.ucode, addon.initrd, addon.dtb];
        single.into_iter().flatten().for_each(|range| check(&[range]));
    }
}

/// Opens all that a boot of an image reads.
fn check_boot(file: &[u8]) {
    let Ok(boot) = UkiBoot::open(&file, None, []) else {
        return;
    };
    let sections = [&boot.kernel].into_iter().chain(&boot.initrds);
    for section in sections {
        section.open().expect("a section of the file");
    }
    let initrd = boot.initrd().expect("sections of the file");
    assert_eq!(initrd.is_some(), !boot.initrds.is_empty());
    let _ = boot.device_tree_for(Some("acme,one"), &[Chid([0; 16])]);
}

/// Looks for the model in arbitrary bytes.
pub(crate) fn check_device_tree(blob: &[u8]) {
    let source = SizedSource::new(&blob).expect("a slice has a length");
    if let Ok(Some(model)) = root_compatible(&source) {
        assert!(!model.is_empty() && model.len() < 256);
    }
}

/// Checks a file name.
pub(crate) fn check_name(text: &str) {
    if let Ok(name) = EntryName::parse(text) {
        assert_eq!(name.file_name(), text);
        let id = EntryName::parse(name.id()).expect("an identification is a file name");
        assert_eq!(id.suffix(), name.suffix());
        assert_eq!(name.tries().is_some(), name.id() != text);
        assert_eq!(name.state() == BootState::Good, name.tries().is_none());
    }
}

/// Checks that versions are in a total preorder.
pub(crate) fn check_versions(versions: &[&str]) {
    check_order(versions, |a, b| compare_versions(a, b));
}

/// Checks the laws of a total preorder.
fn check_order<T: std::fmt::Debug>(items: &[T], compare: impl Fn(&T, &T) -> Ordering) {
    for a in items {
        assert_eq!(compare(a, a), Ordering::Equal, "{a:?}");
        for b in items {
            let order = compare(a, b);
            assert_eq!(order, compare(b, a).reverse(), "{a:?} and {b:?}");
            for c in items.iter().filter(|_| order != Ordering::Greater) {
                if compare(b, c) != Ordering::Greater {
                    let whole = compare(a, c);
                    assert!(whole != Ordering::Greater, "{a:?}, {b:?} and {c:?}");
                    let is_equal = order == Ordering::Equal && compare(b, c) == Ordering::Equal;
                    assert_eq!(whole == Ordering::Equal, is_equal, "{a:?}, {b:?} and {c:?}");
                }
            }
        }
    }
}

/// Compares a pattern with a simple matcher.
pub(crate) fn check_pattern(pattern: &str, name: &str) {
    let Ok(compiled) = Pattern::parse(pattern) else {
        assert!(pattern.len() > Pattern::MAX_LEN);
        return;
    };
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let text: String = name.iter().collect();
    assert_eq!(
        compiled.matches(&text),
        model_matches(&pattern, &name),
        "{pattern:?} {name:?}"
    );
}

/// Matches by a table of which rest of the name each rest of the pattern matches.
fn model_matches(pattern: &[char], name: &[char]) -> bool {
    // States: positions in the name that the pattern so far can reach.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == '*' {
            let first = reached
                .iter()
                .position(|reached| *reached)
                .unwrap_or(reached.len());
            reached[first..].fill(true);
            at += 1;
            continue;
        }
        let (len, accepts) = model_element(&pattern[at..]);
        at += len;
        let mut next = vec![false; reached.len()];
        for position in 0..name.len() {
            next[position + 1] = reached[position] && accepts(name[position]);
        }
        reached = next;
    }
    reached[name.len()]
}

/// The length of the first element of a pattern, which matches one character, and what it accepts.
fn model_element(pattern: &[char]) -> (usize, Box<dyn Fn(char) -> bool>) {
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b);
    match pattern {
        ['?', ..] => (1, Box::new(|_| true)),
        ['\\', escaped, ..] => {
            let escaped = *escaped;
            (2, Box::new(move |c| same(c, escaped)))
        }
        ['[', rest @ ..] => match model_set(rest) {
            Some((len, is_negated, members)) => {
                let accepts = move |c: char| {
                    let forms = [c, c.to_ascii_lowercase(), c.to_ascii_uppercase()];
                    let is_member = members
                        .iter()
                        .any(|(low, high)| forms.iter().any(|c| low <= c && c <= high));
                    is_member != is_negated
                };
                (len + 1, Box::new(accepts))
            }
            None => (1, Box::new(|c| c == '[')),
        },
        [literal, ..] => {
            let literal = *literal;
            (1, Box::new(move |c| same(c, literal)))
        }
        [] => unreachable!("only called with a rest"),
    }
}

/// First and last characters.
type Ranges = Vec<(char, char)>;

/// The length of a set after `[`, whether it is negated, and its ranges.
fn model_set(pattern: &[char]) -> Option<(usize, bool, Ranges)> {
    let is_negated = matches!(pattern.first(), Some('!' | '^'));
    let mut at = usize::from(is_negated);
    let mut members = Vec::new();
    loop {
        let mut c = *pattern.get(at)?;
        if c == ']' && !members.is_empty() {
            return Some((at + 1, is_negated, members));
        }
        if c == '\\' {
            at += 1;
            c = *pattern.get(at)?;
        }
        at += 1;
        let is_range = pattern.get(at) == Some(&'-') && !matches!(pattern.get(at + 1), None | Some(']'));
        if is_range {
            at += 1;
            if pattern[at] == '\\' {
                at += 1;
            }
            members.push((c, *pattern.get(at)?));
            at += 1;
        } else {
            members.push((c, c));
        }
    }
}

/// Checks the result of a scan.
pub(crate) fn check_scan(scan: &Scan, config: &ScanConfig) {
    assert!(scan.entries.len() <= config.max_entries);
    assert!(scan.warnings.len() <= config.max_warnings);
    scan.warnings.iter().for_each(|warning| drop(warning.to_string()));
    for entry in &scan.entries {
        assert!(entry.kernel.is_some() || config.has_efi);
        assert!(entry.efi_program().is_some() && !entry.title.is_empty());
    }
    let is_sorted = scan
        .entries
        .windows(2)
        .all(|pair| compare(&pair[0], &pair[1]) != Ordering::Greater);
    assert!(is_sorted);
    let few = &scan.entries[..scan.entries.len().min(12)];
    check_order(few, compare);
    // Every entry is tried once.
    let mut attempts: Vec<*const bls::Entry> = scan.attempts().map(std::ptr::from_ref).collect();
    assert_eq!(attempts.len(), scan.entries.len());
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(attempts.len(), scan.entries.len());
}
