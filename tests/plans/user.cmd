nsctl run --rootfs /srv/box -u ann:users --group-add audio --group-add 27 -w /srv -e A=1 sh
