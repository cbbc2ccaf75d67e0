nsctl run --image /srv/box.squashfs --overlay-upper /srv/changes sh
old
