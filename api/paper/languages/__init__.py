"""Languages as data: each is a folder of catalogues, found at run time.

Nothing here has a list of languages. A node offers those that its protocol names.
"""
