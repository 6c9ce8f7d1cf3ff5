"""Starting and supervising the processes of Argus: what `argus up` and the servers run."""
