nsctl run -v /srv/data:/mnt:ro --tmpfs /tmp:size=1m sh
old
