//! Names for containers that were given none: easier to say and to type than an id.

const FIRST: [&str; 32] = [
    "able", "brave", "brisk", "calm", "clever", "cosy", "eager", "early", "fair", "fond", "free", "fresh", "gentle",
    "glad", "grand", "happy", "jolly", "keen", "kind", "lively", "lucky", "merry", "mild", "neat", "noble", "proud",
    "quick", "quiet", "sharp", "swift", "warm", "wise",
];
const SECOND: [&str; 32] = [
    "alder", "aspen", "badger", "beech", "birch", "cedar", "crane", "dove", "elm", "fern", "finch", "hare", "hazel",
    "heron", "ibis", "iris", "larch", "lark", "linden", "lynx", "maple", "marten", "otter", "pine", "raven", "robin",
    "rowan", "seal", "stork", "swan", "willow", "wren",
];

/// The same id always gives the same name. With its digits it is one of 17 thousand million, so that of a thousand containers no two
/// come to the same by chance.
pub(crate) fn made_of(id: &str) -> String {
    let number = u64::from_str_radix(id, 16).unwrap_or(0);
    let (first, second) = (FIRST[(number % 32) as usize], SECOND[(number / 32 % 32) as usize]);
    format!("{first}-{second}-{:06x}", number / 1024 % (1 << 24))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_is_made_of_the_id() {
        assert_eq!(super::made_of("000000000000"), "able-alder-000000");
        assert_eq!(super::made_of("ffffffffffff"), "wise-wren-ffffff");
    }
}
