use super::*;

#[test]
fn options_are_the_same_in_both_interfaces() {
    let fs = FileSystem::new(c"tmpfs", "mode=755,size=64k,ro", 0);
    let keys: Vec<_> = fs.options.iter().map(|(key, value)| (key.to_str().unwrap(), value.is_some())).collect();
    assert_eq!(keys, [("mode", true), ("size", true), ("ro", false)]);
    assert_eq!(fs.options_text(), c"mode=755,size=64k,ro");
    assert!(FileSystem::new(c"proc", "", 0).options.is_empty());
}

#[test]
fn a_new_access_time_replaces_the_old_field() {
    let change = Change { set: k::MOUNT_ATTR_NOATIME, ..Change::default() };
    assert_eq!(change.to_attr(None).cleared(), u64::from(k::MOUNT_ATTR__ATIME));
    let change = Change { set: k::MOUNT_ATTR_RDONLY, clear: k::MOUNT_ATTR_NOEXEC, ..Change::default() };
    assert_eq!(change.to_attr(None).cleared(), u64::from(k::MOUNT_ATTR_NOEXEC));
}

#[test]
fn attributes_are_flags_of_mount() {
    assert_eq!(flags_of(k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NODEV), MountFlags::RDONLY | MountFlags::NODEV);
}
