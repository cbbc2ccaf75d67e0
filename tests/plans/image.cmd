nsctl run --image /srv/box.squashfs --overlay-size 16m sh
