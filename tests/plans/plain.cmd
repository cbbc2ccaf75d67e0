nsctl run true
