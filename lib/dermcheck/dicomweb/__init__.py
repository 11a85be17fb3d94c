"""DICOMweb as an origin server speaks it (PS3.18): searches, retrieval and storage, without a web server.

Everything here takes and gives plain values (parameters, bytes, DICOM JSON); the HTTP routes are
`dermcheck.label_app.dicomweb_routes`. So each rule of the standard can be tested without a socket.
"""
