nsctl run --image box sh
