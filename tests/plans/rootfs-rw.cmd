nsctl run --rootfs /srv/box --rw sh
