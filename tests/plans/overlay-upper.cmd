nsctl run --rootfs /srv/box --overlay-upper /srv/changes sh
