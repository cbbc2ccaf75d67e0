use super::*;

const RO: u32 = k::MOUNT_ATTR_RDONLY;

fn bind(mount: &Mount) -> (&CString, bool) {
    match &mount.what {
        What::Bind { source, recursive, .. } => (source, *recursive),
        other => panic!("{other:?}"),
    }
}

#[test]
fn volumes() {
    let plain = volume(OsStr::new("/a:/b")).unwrap();
    assert_eq!((bind(&plain).0.as_c_str(), plain.target.as_c_str()), (c"/a", c"/b"));
    assert_eq!(plain.change, Change { recursive: true, ..Change::default() });
    assert_eq!(plain.spread, Change { propagation: libc::MS_PRIVATE as u32, recursive: true, ..Change::default() });
    let ro = volume(OsStr::new("./a:/b//c/.:ro,nodev,rslave,nocopy")).unwrap();
    assert_eq!(ro.target.as_c_str(), c"/b/c");
    assert_eq!(ro.change.set, RO | k::MOUNT_ATTR_NODEV);
    assert_eq!(ro.spread.propagation, libc::MS_SLAVE as u32);
    assert_eq!(volume(OsStr::new("/a:/b:ro,rw")).unwrap().change.set, 0);
    assert!(!bind(&volume(OsStr::new("/a:/b:bind")).unwrap()).1);
    for typed in [
        "",
        "/a",
        "a:/b",
        "/a:b",
        "/a:/b:c:d",
        "/a:/b:what",
        "/a:/",
        "/a:/b/../c",
        "/a:/proc",
        "/a:/proc/sys",
        "/a:/sys/x",
        "/a:/./proc",
        "/a:/b:z",
        "/a:/b:idmap=x",
        "/a:/b,ro",
        ":/b",
    ] {
        assert!(volume(OsStr::new(typed)).is_err(), "{typed}");
    }
}

#[test]
fn mounts() {
    let parse = |text: &str| mount(OsStr::new(text));
    let made = parse("type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared").unwrap();
    assert_eq!((made.change.set, made.spread.propagation), (RO, libc::MS_SHARED as u32));
    assert_eq!(parse("type=bind,source=/a,target=/b,ro=false").unwrap().change.set, 0);
    let made = parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770,exec").unwrap();
    assert_eq!(made.what, What::Fs { fs: "tmpfs", options: "size=1m,mode=1770".into() });
    assert_eq!(made.change.set, k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV);
    let made = parse("type=overlay,lowerdir=/l1:/l2,upperdir=/u,workdir=/w,dst=/o").unwrap();
    assert_eq!(
        made.what,
        What::Overlay { lowers: vec![c"/l1".into(), c"/l2".into()], upper: Some([c"/u".into(), c"/w".into()]) }
    );
    assert_eq!(parse("type=sysfs,dst=/s").unwrap().change.set & RO, RO);
    for text in [
        "",
        "type=bind,dst=/b",
        "type=bind,src=/a",
        "type=volume,src=a,dst=/b",
        "type=tmpfs,dst=/t,src=/x",
        "type=bind,src=/a,dst=/b,what",
        "type=bind,src=/a,dst=/b,size=1m",
        "type=overlay,lowerdir=/l,upperdir=/u,dst=/o",
        "type=tmpfs,dst=/t,idmap=uids=0-1-1",
        "type=bind,src=/a,dst=/b,bind-propagation=loud",
        "type=tmpfs,dst=/t,lowerdir=/x",
        "type=bind,src=/a,dst=/b,ro=maybe",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn tmpfs_options() {
    let made = tmpfs(OsStr::new("/t:size=64k,mode=700,exec,ro")).unwrap();
    assert_eq!(made.what, What::Fs { fs: "tmpfs", options: "size=64k,mode=700".into() });
    assert_eq!(made.change.set, k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | RO);
    for typed in ["", "t", "/t:what", "/t:size", "/proc", "/t:mpol=x"] {
        assert!(tmpfs(OsStr::new(typed)).is_err(), "{typed}");
    }
}

#[test]
fn maps_of_ids() {
    let map = id_map("uids=0-1000-1#1-2000-5;gids=0-100-1").unwrap();
    assert_eq!((map.users, map.groups), (vec![[0, 1000, 1], [1, 2000, 5]], vec![[0, 100, 1]]));
    assert_eq!(id_map("uids=0-1-1").unwrap().groups, [[0, 1, 1]]);
    assert!(id_map("uids=4294967294-0-1#5-1-5#0-6-5").is_some());
    for text in [
        "",
        "uids=",
        "uids=0-1",
        "uids=0-1-0",
        "uids=0-1-1-1",
        "uids=4294967295-0-1",
        "uids=0-4294967290-6",
        "uids=0-0-5#4-9-1",
        "uids=0-0-5#9-4-1",
        "x=0-1-1",
        "uids=a-1-1",
    ] {
        assert!(id_map(text).is_none(), "{text}");
    }
    let many = |count: u32| (0..count).map(|id| format!("{id}-{id}-1")).collect::<Vec<_>>().join("#");
    assert!(id_map(&format!("uids={}", many(340))).is_some() && id_map(&format!("uids={}", many(341))).is_none());
}

#[test]
fn devices() {
    let made = device(OsStr::new("/dev/null:/dev/sub/zero:rwm")).unwrap();
    assert_eq!((made.source.as_c_str(), made.name.as_c_str()), (c"/dev/null", c"sub/zero"));
    assert_eq!(device(OsStr::new("/dev/null")).unwrap().name.as_c_str(), c"null");
    for typed in [
        "",
        "null",
        "/dev/null:/etc/x",
        "/dev/null:r",
        "/dev/null:/dev/x:rw",
        "/dev/null:/dev/../x",
        "/dev/null:/dev",
    ] {
        assert!(device(OsStr::new(typed)).is_err(), "{typed}");
    }
}
