//! The system call numbers of the architectures whose programs a kernel runs, as ranges with rules. build.rs uses this file, too.

use super::names::{Architecture, Names};
use super::program::{Gap, KILL_PROCESS, Range, Rules, ranges};

/// All numbers of one AUDIT_ARCH_*.
struct Numbers {
    audit: u32,
    gaps: Vec<Gap>,
    calls: Vec<(u32, Rules)>,
}

/// The ranges of each AUDIT_ARCH_*. `runs`: whether programs of this architecture may run; `gaps`: what holds for its numbers where
/// no call is, from its base up; `rules` are those of a call there, which may be none: as if it were not there.
pub(crate) fn by_audit(
    architectures: &[Architecture],
    names: &Names,
    runs: impl Fn(usize) -> bool,
    gaps: impl Fn(usize) -> Vec<Gap>,
    rules: impl Fn(usize, usize) -> Option<Rules>,
) -> Vec<(u32, Vec<Range>)> {
    let mut all: Vec<Numbers> = Vec::new();
    for (index, architecture) in architectures.iter().enumerate() {
        if all.last().is_none_or(|one| one.audit != architecture.audit) {
            if !runs(index) {
                continue;
            }
            all.push(Numbers { audit: architecture.audit, gaps: Vec::new(), calls: Vec::new() });
        }
        let Some(Numbers { gaps: all_gaps, calls, .. }) = all.last_mut() else { continue };
        if runs(index) {
            all_gaps.extend(gaps(index));
            for call in 0..names.count() {
                let Some(number) = names.number(call, index) else { continue };
                calls.extend(rules(call, index).map(|rules| (number + architecture.base, rules)));
            }
        } else {
            // -1 is what a tracer sets to skip a call.
            let skipped = all_gaps.last().map_or(KILL_PROCESS, |(_, verdict)| *verdict);
            all_gaps.extend([(architecture.base, KILL_PROCESS), (u32::MAX, skipped)]);
        }
    }
    all.into_iter().map(|one| (one.audit, ranges(&one.gaps, one.calls))).collect()
}
