"""Partners without an API in the API's description."""

from __future__ import annotations

from api.operations import SIGNED_IN, Answer, Operation
from api.ops_manual import (
    CompleteInput,
    ExportInput,
    ProgressAnswer,
    ProgressInput,
    RefuseInput,
    WorkItem,
    WorkItems,
    WorkItemsQuery,
)
from api.ops_vouchers import (
    AddVouchersInput,
    Pools,
    PoolsQuery,
    VoucherCode,
    VoucherRetired,
    Vouchers,
    VouchersAdded,
    VouchersQuery,
    WhyVoucherInput,
)
from api.xp_operations import KEY, POSTED, STAFF_READ

TAG = "operations"
ITEM = "/api/ops/manual/items/{itemId}"
VOUCHER = "/api/ops/vouchers/{voucherId}"
LISTED = (*STAFF_READ, "invalid_cursor")
STAFF = (*POSTED, "wrong_role")
CLOSING = (
    *STAFF,
    "work_item_not_found",
    "work_item_closed",
    "stale_version",
    "version_required",
    "code_unreadable",
)

MANUAL_OPERATIONS = (
    Operation(
        "get",
        "/api/ops/manual/items",
        "listWorkItems",
        "List what people have to do at partners",
        TAG,
        {200: Answer("A page, newest first", WorkItems)},
        LISTED,
        query=WorkItemsQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        ITEM,
        "getWorkItem",
        "See a work item",
        TAG,
        {200: Answer("The item; ETag is its version", WorkItem)},
        (*STAFF_READ, "work_item_not_found"),
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        f"{ITEM}/complete",
        "completeWorkItem",
        "Note that it was done",
        TAG,
        {200: Answer("Done; ETag is its version", WorkItem)},
        (*CLOSING, "seat_id_taken"),
        body=CompleteInput,
        headers=("If-Match",),
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        f"{ITEM}/refuse",
        "refuseWorkItem",
        "Note that it cannot be done",
        TAG,
        {200: Answer("Refused; ETag is its version", WorkItem)},
        CLOSING,
        description="The enrolment of a seat that was to be set up fails with the reason. A refund is made in Stripe.",
        body=RefuseInput,
        headers=("If-Match",),
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/manual/exports",
        "exportWorkItems",
        "Export the seats to be set up",
        TAG,
        {
            200: Answer(
                "The file, in the columns that the partner's configuration names", media_type="text/csv"
            )
        },
        (*STAFF, "partner_not_manual"),
        body=ExportInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/manual/progress",
        "importManualProgress",
        "Check or import progress and certificates",
        TAG,
        {200: Answer("What the file would do, or did", ProgressAnswer)},
        (*STAFF, "partner_not_manual", "file_wrong"),
        description="All of the file or nothing. Larger ones: `usher manual import`.",
        body=ProgressInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/ops/voucher-pools",
        "listVoucherPools",
        "List pools of vouchers",
        TAG,
        {200: Answer("A page", Pools)},
        LISTED,
        query=PoolsQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/ops/vouchers",
        "listVouchers",
        "List a course's vouchers",
        TAG,
        {200: Answer("A page, newest first, without codes", Vouchers)},
        LISTED,
        query=VouchersQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/vouchers",
        "addVouchers",
        "Add vouchers to a pool",
        TAG,
        {200: Answer("Added", VouchersAdded)},
        (*STAFF, "partner_course_not_found", "code_unreadable"),
        body=AddVouchersInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        f"{VOUCHER}/retire",
        "retireVoucher",
        "Take a free voucher out of its pool",
        TAG,
        {200: Answer("Retired", VoucherRetired)},
        (*STAFF, "voucher_not_found", "voucher_not_free"),
        body=WhyVoucherInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        f"{VOUCHER}/reveal",
        "revealVoucher",
        "See the code of a voucher that was handed out",
        TAG,
        {200: Answer("The code", VoucherCode)},
        (*STAFF, "voucher_not_found", "voucher_not_held", "code_unreadable"),
        description="Audited each time. From then on the voucher is never another student's.",
        body=WhyVoucherInput,
        security=SIGNED_IN,
    ),
)
