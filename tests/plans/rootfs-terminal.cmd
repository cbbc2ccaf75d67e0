nsctl run -it --rootfs /srv/root sh
