nsctl run --rootfs /srv/box sh
old
