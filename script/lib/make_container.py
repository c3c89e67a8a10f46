#!/usr/bin/env python3
"""Makes a container at an Azure Blob service with the Azure SDK, and prints a shared access signature for it.

    make_container.py ENDPOINT ACCOUNT KEY-FILE CONTAINER [PERMISSIONS [SECONDS]]
"""
import datetime
import sys

from azure.storage.blob import BlobServiceClient, generate_container_sas


def main():
    endpoint, account, file, container = sys.argv[1:5]
    permissions = sys.argv[5] if len(sys.argv) > 5 else ""
    lasts = datetime.timedelta(seconds=int(sys.argv[6]) if len(sys.argv) > 6 else 3600)
    with open(file, encoding="ascii") as text:
        key = text.read().strip()
    BlobServiceClient(endpoint, credential={"account_name": account, "account_key": key}).create_container(container)
    if permissions:
        print(generate_container_sas(
            account, container, account_key=key, permission=permissions,
            expiry=datetime.datetime.now(datetime.timezone.utc) + lasts))


main()
