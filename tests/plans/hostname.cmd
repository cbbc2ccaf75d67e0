nsctl run -h box --domainname lan sh
