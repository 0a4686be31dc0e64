#!/usr/bin/env bash
# What [shared] needs on Azure: a PostgreSQL flexible server, a storage account with a container, and
# a managed identity that may use both and nothing else. No key and no password anywhere.
#   az login; SERVER=… ACCOUNT=… MY_ADDRESS=… ./azure.sh
# It can be run again. You become the server's Entra administrator. psql and az are needed.
set -euo pipefail

GROUP=${GROUP:-mai-studio}
LOCATION=${LOCATION:-westeurope}
IDENTITY=${IDENTITY:-mai-studio}
SERVER=${SERVER:?a name for the PostgreSQL server that nobody else has}
ACCOUNT=${ACCOUNT:?a name for the storage account that nobody else has: 3 to 24 letters and digits}
MY_ADDRESS=${MY_ADDRESS:?this computer, as the internet sees it: it sets the database up}

az group create --name "$GROUP" --location "$LOCATION" --output none
az identity create --name "$IDENTITY" --resource-group "$GROUP" --output none
PRINCIPAL=$(az identity show --name "$IDENTITY" --resource-group "$GROUP" --query principalId -o tsv)
CLIENT=$(az identity show --name "$IDENTITY" --resource-group "$GROUP" --query clientId -o tsv)

echo "storage account"
az storage account create --name "$ACCOUNT" --resource-group "$GROUP" --location "$LOCATION" \
  --sku Standard_ZRS --kind StorageV2 --min-tls-version TLS1_2 --https-only true \
  --allow-blob-public-access false --allow-shared-key-access false --output none
SCOPE=$(az storage account show --name "$ACCOUNT" --resource-group "$GROUP" --query id -o tsv)
az storage container-rm create --name studio --storage-account "$ACCOUNT" \
  --resource-group "$GROUP" --output none
az role assignment create --role "Storage Blob Data Contributor" \
  --assignee-object-id "$PRINCIPAL" --assignee-principal-type ServicePrincipal \
  --scope "$SCOPE/blobServices/default/containers/studio" --output none

echo "PostgreSQL: some ten minutes"
az postgres flexible-server show --name "$SERVER" --resource-group "$GROUP" --output none 2>/dev/null ||
  az postgres flexible-server create --name "$SERVER" --resource-group "$GROUP" \
    --location "$LOCATION" --tier Burstable --sku-name Standard_B1ms --version 17 \
    --microsoft-entra-auth Enabled --password-auth Disabled \
    --public-access "$MY_ADDRESS" --yes --output none
az postgres flexible-server db create --database-name mai --server-name "$SERVER" \
  --resource-group "$GROUP" --output none
ME=$(az ad signed-in-user show --query userPrincipalName -o tsv)
az postgres flexible-server microsoft-entra-admin create --server-name "$SERVER" \
  --resource-group "$GROUP" --display-name "$ME" --type User \
  --object-id "$(az ad signed-in-user show --query id -o tsv)" --output none

run_sql() {   # run_sql DATABASE STATEMENT
  PGPASSWORD=$(az account get-access-token --resource-type oss-rdbms --query accessToken -o tsv) \
    psql "host=$SERVER.postgres.database.azure.com dbname=$1 user=$ME sslmode=require" \
    -v ON_ERROR_STOP=1 -c "$2"
}
run_sql postgres "SELECT pgaadauth_create_principal('$IDENTITY', false, false)
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$IDENTITY')"
run_sql mai "CREATE SCHEMA IF NOT EXISTS mai_image"
run_sql mai "GRANT USAGE, CREATE ON SCHEMA mai_image TO \"$IDENTITY\""
run_sql mai "REVOKE ALL ON DATABASE mai FROM PUBLIC"
run_sql mai "GRANT CONNECT ON DATABASE mai TO \"$IDENTITY\""
run_sql mai "REVOKE ALL ON SCHEMA public FROM PUBLIC"

cat <<END

Give every machine the identity, and let the database hear it:
  az vm identity assign --name VM --resource-group VM_GROUP --identities \\
    $(az identity show --name "$IDENTITY" --resource-group "$GROUP" --query id -o tsv)
  az postgres flexible-server firewall-rule create --name VM --server-name $SERVER \\
    --resource-group $GROUP --start-ip-address VM_ADDRESS --end-ip-address VM_ADDRESS

Set AZURE_CLIENT_ID=$CLIENT where ComfyUI is started, and in every profiles.toml:

[shared]
database = "postgresql://$IDENTITY@$SERVER.postgres.database.azure.com/mai"
entra = true
images = "https://$ACCOUNT.blob.core.windows.net/studio/mai"
END
