"""What package managers leave beside a configuration file, and what is to become of it.

    suffixes   which names are leftovers, and of which side
    facts      what the package databases say of a tree: configuration, owners
    intent     what the recipe does to a file, so that it can be done again on a new version
    cause      who changed the file in use
    merge      three versions of a text into one
    keyed      passwd and its kin: the union by key
    accounts   a user that came is given what a user needs
    decide     one leftover, one decision
    report     rows for the record and the manifest

Nothing here runs a command; stage leftovers (`tmplbuild.stages.leftovers`) does the work.
"""
