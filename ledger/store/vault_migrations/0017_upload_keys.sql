-- The content key of an upload is under a key of the case's uploads, in a file beside the data keys.
-- Once that is destroyed, no backup of the database opens the upload. An upload of before, whose key
-- was sealed to the country's public key, opens no more: it is begun again.

COMMENT ON COLUMN {schema}.documents.upload_key IS
    'The content key under the key of the case''s uploads: only while no action has the document.';
