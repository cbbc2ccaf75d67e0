nsctl run --rootfs /srv/box -v /srv/data:/data:ro sh
old
