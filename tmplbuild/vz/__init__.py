"""Named VEs as their administrator knows them: private areas, VEID.conf, dist configurations, onboot.

Above the core, which runs what it is handed, and beside the builder, which needs none of this. The
words and the files are OpenVZ's (vzctl(8), vz.conf(5), ctid.conf(5)).
"""
