"""Subject access: all that is held on one person, in the person's language.

``document.SubjectFile`` is what goes in; ``document.labelled`` gives it with its labels for
JSON, ``pdf.render`` as a PDF. Nothing here reads a store, a clock or a request.
"""
