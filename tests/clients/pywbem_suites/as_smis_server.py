"""A pytest plugin: pywbem's tests of SNIA's Server profile, although we do not register that profile.

What they follow from the object manager (namespaces, protocols, the system) every WBEM server has. Only
the way to the object manager is different: it is enumerated.
"""


def pytest_configure():
    from tests.end2endtest.utils import pytest_extensions as extensions

    def init_profile(self, conn, profile_org, profile_name, profile_version=None):
        self.conn = conn
        self.server = extensions.WBEMServer(conn)
        self.profile_id = f"{profile_org}:{profile_name}:any"
        self.profile_definition = extensions.single_profile_definition(profile_org, profile_name)

    def init_central_instances(self):
        namespace = self.server.interop_ns
        self.central_inst_paths = self.conn.EnumerateInstanceNames("CIM_ObjectManager", namespace, asserted=False)

    extensions.ProfileTest.init_profile = init_profile
    extensions.ProfileTest.init_central_instances = init_central_instances
