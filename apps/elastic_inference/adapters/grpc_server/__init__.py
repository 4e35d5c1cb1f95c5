"""A small gRPC server: calls with one request message each, over HTTP/2 (`h2`), with bounds on what clients may use.

`connection` speaks the protocol, `server` accepts connections, `call` has what methods are made of.
"""

from elastic_inference.adapters.grpc_server.call import CallError, GrpcStatus, Method
from elastic_inference.adapters.grpc_server.server import GrpcServer
from elastic_inference.adapters.grpc_server.server_certificate import ServerCertificate

__all__ = ["CallError", "GrpcServer", "GrpcStatus", "Method", "ServerCertificate"]
