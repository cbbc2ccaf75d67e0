nsctl run printf a"b\n
