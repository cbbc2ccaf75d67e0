nsctl run --rootfs /srv/box -v /srv/data:/data -v /srv/conf:/etc/conf:ro,nosuid -v /srv/hot:/hot:rslave -v /srv/ids:/ids:bind,idmap=uids=0-1000-1 sh
