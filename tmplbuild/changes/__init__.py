"""What a template is (facts), how two differ (comparison), and what each build of one changed (history).

    facts = gather(Subject(view))                  # of any tree or tarball, deb- or rpm-based
    found = compare(before, after, fixes=...)      # packages, security fixes, /etc, services, accounts...
    print(*text_lines(found, ink))                 # what would break a consumer first
    history = History(state_dir); history.builds("debian-12-x86_64")

Nothing here builds, fetches or runs anything.
"""
