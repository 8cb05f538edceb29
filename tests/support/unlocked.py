"""The readers of the locked process in this process, for files that the tests made themselves."""

from api.client.schemas.case_documents import FoundMetadata
from api.sandbox import found_metadata, pictures
from api.sandbox.without_metadata import REMOVERS


def picture(content: bytes, media_type: str, page: int = 1) -> pictures.Pixels:
    pictures.prepare(media_type)
    return pictures.pixels(content, media_type, page)


def metadata(content: bytes, media_type: str) -> FoundMetadata:
    pictures.prepare(media_type)
    return FoundMetadata.model_validate(found_metadata.found_metadata(content, media_type))


def cleaned(content: bytes, media_type: str) -> bytes:
    return REMOVERS[media_type](content)
