//! The words of the program pasta (pasta(1)).

use std::ffi::{CStr, CString};

/// Always: the interface is furnished, and what the host itself listens on is not the container's business.
const OPTIONS: [&CStr; 8] = [
    c"--quiet",
    c"--config-net",
    c"--runas",
    c"0:0",
    c"--no-map-gw",
    c"--netns-only",
    c"--netns",
    // Its path follows.
    c"",
];
/// Each with its long name: which ports lead in and out, none unless it is said.
const PORTS: [(&CStr, &CStr); 4] =
    [(c"-t", c"--tcp-ports"), (c"-u", c"--udp-ports"), (c"-T", c"--tcp-ns"), (c"-U", c"--udp-ns")];
/// Its words.
pub(super) fn words(netns: &CStr, options: &[CString]) -> Vec<CString> {
    let mut words: Vec<CString> = vec![c"pasta".into()];
    words.extend(OPTIONS.iter().map(|word| if word.is_empty() { netns.into() } else { CString::from(*word) }));
    for (short, long) in PORTS {
        let is = |word: &CString| {
            word.to_bytes().starts_with(long.to_bytes()) || word.to_bytes().starts_with(short.to_bytes())
        };
        if !options.iter().any(is) {
            words.extend([CString::from(short), c"none".into()]);
        }
    }
    words.extend(options.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_lead_nowhere_unless_it_is_said() {
        let text = |options: &[CString]| {
            let words = words(c"/run/x/netns", options);
            words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert!(text(&[]).ends_with("--netns /run/x/netns -t none -u none -T none -U none"));
        assert!(text(&[c"-t".into(), c"80:8080".into()]).ends_with("-u none -T none -U none -t 80:8080"));
        assert!(text(&[c"--udp-ns=53".into()]).ends_with("-t none -u none -T none --udp-ns=53"));
    }
}
