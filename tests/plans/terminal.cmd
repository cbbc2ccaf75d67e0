nsctl run -it sh
